//! Currencies of ISO 4217: a code of three letters with the exponent frozen beside it.

use std::fmt;
use std::str::FromStr;

/// A currency: its ISO 4217 code and the number of decimals of its minor unit.
///
/// The exponent is part of the value, because it is frozen when an account is opened: an amount recorded today must mean
/// the same after ISO changes its list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

/// A text that is not a currency we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ISO 4217 currency code")]
pub struct UnknownCurrency(pub String);

impl Currency {
    /// The most decimals that any currency has.
    pub const EXPONENT_MAX: u8 = 4;

    /// A currency from its recorded parts; `None` unless the code is three capital letters and the exponent is in range.
    /// Recorded facts are read with this, so that a journal stays readable whatever ISO does to its list.
    pub fn from_parts(code: [u8; 3], exponent: u8) -> Option<Self> {
        let valid = code.iter().all(u8::is_ascii_uppercase) && exponent <= Self::EXPONENT_MAX;
        valid.then_some(Self { code, exponent })
    }

    /// The code, as bytes.
    pub const fn code_bytes(self) -> [u8; 3] {
        self.code
    }

    /// The code: three capital letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// The number of decimals of the minor unit: 2 for EUR, 0 for JPY, 3 for BHD.
    pub const fn exponent(self) -> u8 {
        self.exponent
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Looks the code up in ISO 4217. Codes without a minor unit (metals, test codes) are refused.
    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        let unknown = || UnknownCurrency(text.chars().take(12).collect());
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| unknown())?;
        let listed = iso_currency::Currency::from_code(text).ok_or_else(unknown)?;
        let exponent = listed.exponent().and_then(|n| u8::try_from(n).ok()).ok_or_else(unknown)?;
        Self::from_parts(code, exponent).ok_or_else(unknown)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code(), self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// List one of ISO 4217 as published on 2024-06-25, by number of decimals, without ANG, which gave way to XCG in 2025.
    const NONE: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
    const TWO: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD \
        CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ \
        GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP \
        MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG \
        SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD \
        YER ZAR ZMW ZWG";
    const THREE: &str = "BHD IQD JOD KWD LYD OMR TND";
    const FOUR: &str = "CLF UYW";
    const WITHOUT_MINOR_UNIT: &str = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX";

    #[test]
    fn exponents_are_those_of_the_standard() {
        let mut listed = 0;
        for (codes, exponent) in [(NONE, 0), (TWO, 2), (THREE, 3), (FOUR, 4)] {
            for code in codes.split_whitespace() {
                assert_eq!(code.parse().map(Currency::exponent), Ok(exponent), "{code}");
                listed += 1;
            }
        }
        assert_eq!(listed, 165);
    }

    #[test]
    fn what_has_no_minor_unit_or_is_no_code_is_refused() {
        for text in WITHOUT_MINOR_UNIT
            .split_whitespace()
            .chain(["ANG", "", "EU", "EURO", "eur", "Eur", "E R", "ABC", "ÄÖ", "978"])
        {
            assert_eq!(text.parse::<Currency>(), Err(UnknownCurrency(text.into())), "{text}");
        }
    }

    #[test]
    fn recorded_parts_are_bounded() {
        assert!(Currency::from_parts(*b"QQQ", 4).is_some());
        assert!(Currency::from_parts(*b"QQQ", 5).is_none());
        assert!(Currency::from_parts(*b"qqq", 2).is_none());
        assert!(Currency::from_parts([0xff; 3], 2).is_none());
    }
}
