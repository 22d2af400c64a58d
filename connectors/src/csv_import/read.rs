//! Opens a CSV file: plain or gzip, any encoding, and yields rows as text with their line numbers.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rules::FileForm;
use super::template::Columns;

/// One row of the file.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The line it begins on, from 1.
    pub(crate) line: u64,
    /// Its fields, spaces around them removed.
    pub(crate) fields: csv::StringRecord,
}

/// What came instead of a row.
#[derive(Debug)]
pub(crate) enum ReadFault {
    /// This row can't be read, the next one may.
    Row { line: u64, code: &'static str, detail: String, raw: String },
    /// The file can't be read on.
    File(io::Error),
}

/// A file open for reading.
pub(crate) struct RowReader {
    csv: csv::Reader<Box<dyn Read + Send>>,
    columns: Columns,
    record: csv::ByteRecord,
    transcoded: bool,
    skipped_lines: u64,
    separator: char,
}

/// Counts what was read of the file itself, for the progress bar.
struct Counting<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Decodes another encoding to UTF-8 as it is read. What does not decode becomes U+FFFD, by which its row is refused.
struct Transcoding<R> {
    inner: R,
    decoder: encoding_rs::Decoder,
    input: Vec<u8>,
    filled: usize,
    ended: bool,
    output: Vec<u8>,
    taken: usize,
}

impl<R: Read> Read for Transcoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.output.len() {
            if self.ended {
                return Ok(0);
            }
            let read = match self.input.get_mut(self.filled..) {
                Some(room) => self.inner.read(room)?,
                None => 0,
            };
            self.filled += read;
            self.ended = read == 0;
            let source = self.input.get(..self.filled).unwrap_or_default();
            let capacity = self.decoder.max_utf8_buffer_length(source.len()).unwrap_or(source.len() * 3 + 16);
            self.output.clear();
            self.output.resize(capacity, 0);
            let (_, consumed, written, _) = self.decoder.decode_to_utf8(source, &mut self.output, self.ended);
            self.output.truncate(written);
            self.taken = 0;
            self.input.copy_within(consumed..self.filled, 0);
            self.filled -= consumed;
        }
        let rest = self.output.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        Ok(count)
    }
}

impl RowReader {
    /// Opens a file; `bytes_read` counts on as it is read.
    pub(crate) fn open(path: &Path, form: &FileForm, bytes_read: Arc<AtomicU64>) -> io::Result<Self> {
        let counting = Counting { inner: File::open(path)?, count: bytes_read };
        let plain: Box<dyn Read + Send> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(counting)))
        } else {
            Box::new(counting)
        };
        Self::new(plain, form)
    }

    fn new(plain: Box<dyn Read + Send>, form: &FileForm) -> io::Result<Self> {
        let transcoded = form.encoding != encoding_rs::UTF_8;
        let mut text: Box<dyn Read + Send> = if transcoded {
            Box::new(Transcoding {
                inner: plain,
                decoder: form.encoding.new_decoder_with_bom_removal(),
                input: vec![0; 64 * 1024],
                filled: 0,
                ended: false,
                output: Vec::new(),
                taken: 0,
            })
        } else {
            plain
        };
        if form.skip_lines > 0 {
            text = skip_lines(text, form.skip_lines)?;
        }
        let mut builder = csv::ReaderBuilder::new();
        builder.delimiter(form.separator).has_headers(false).flexible(true).buffer_capacity(64 * 1024);
        match form.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        let mut csv = builder.from_reader(text);
        let mut columns = form.columns.clone();
        if form.header {
            let mut header = csv::ByteRecord::new();
            if !csv.read_byte_record(&mut header).map_err(io::Error::other)? {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty: there is no header"));
            }
            let found: Vec<String> =
                header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
            if columns.is_empty() {
                columns = found;
            } else if columns != found {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the header ({}) is not file.columns", found.join(", ")),
                ));
            }
        }
        let skipped_lines = form.skip_lines as u64;
        let separator = char::from(form.separator);
        Ok(Self {
            csv,
            columns: Columns(columns),
            record: csv::ByteRecord::new(),
            transcoded,
            skipped_lines,
            separator,
        })
    }

    /// The columns.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The next row; `None` at the end.
    pub(crate) fn next_row(&mut self) -> Option<Result<Row, ReadFault>> {
        match self.csv.read_byte_record(&mut self.record) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => return Some(Err(ReadFault::File(io::Error::other(error)))),
        }
        let line = self.record.position().map_or(0, csv::Position::line) + self.skipped_lines;
        let separator = self.separator.to_string();
        let refuse = |code, detail: String, record: &csv::ByteRecord| {
            let fields: Vec<_> = record.iter().map(|field| String::from_utf8_lossy(field)).collect();
            Some(Err(ReadFault::Row { line, code, detail, raw: fields.join(&separator) }))
        };
        let Ok(mut fields) = csv::StringRecord::from_byte_record(self.record.clone()) else {
            return refuse("row_not_decodable", "the row is not in the file's encoding".into(), &self.record);
        };
        if self.transcoded && fields.iter().any(|field| field.contains('\u{fffd}')) {
            return refuse("row_not_decodable", "the row is not in the file's encoding".into(), &self.record);
        }
        if fields.len() != self.columns.0.len() {
            let detail = format!("{} fields where there are {} columns", fields.len(), self.columns.0.len());
            return refuse("row_wrong_columns", detail, &self.record);
        }
        fields.trim();
        Some(Ok(Row { line, fields }))
    }
}

/// Drops lines before the header, byte by byte through a small buffer.
fn skip_lines(plain: Box<dyn Read + Send>, lines: usize) -> io::Result<Box<dyn Read + Send>> {
    use std::io::BufRead as _;
    let mut buffered = BufReader::new(plain);
    let mut dropped = Vec::new();
    for _ in 0..lines {
        dropped.clear();
        buffered.read_until(b'\n', &mut dropped)?;
    }
    Ok(Box::new(buffered))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn form(encoding: &'static encoding_rs::Encoding, separator: u8) -> FileForm {
        FileForm { separator, quote: Some(b'"'), encoding, header: true, columns: vec![], skip_lines: 0 }
    }

    type RowOrCode = Result<(u64, Vec<String>), (u64, &'static str)>;

    fn rows(bytes: &[u8], form: &FileForm) -> Vec<RowOrCode> {
        let mut reader = RowReader::new(Box::new(io::Cursor::new(bytes.to_vec())), form).unwrap();
        let mut out = Vec::new();
        while let Some(row) = reader.next_row() {
            out.push(match row {
                Ok(row) => Ok((row.line, row.fields.iter().map(str::to_owned).collect())),
                Err(ReadFault::Row { line, code, .. }) => Err((line, code)),
                Err(ReadFault::File(error)) => panic!("{error}"),
            });
        }
        out
    }

    #[allow(clippy::unnecessary_wraps)]
    fn row(line: u64, fields: &[&str]) -> RowOrCode {
        Ok((line, fields.iter().map(|&field| field.to_owned()).collect()))
    }

    #[test]
    fn rows_keep_their_line_numbers_and_bad_rows_do_not_end_the_file() {
        let bytes = b"\xef\xbb\xbfid,text\n1, a \n2,\"two\nlines\"\n3\n4,\xff\n5,e\n";
        assert_eq!(
            rows(bytes, &form(encoding_rs::UTF_8, b',')),
            [
                row(2, &["1", "a"]),
                row(3, &["2", "two\nlines"]),
                Err((5, "row_wrong_columns")),
                Err((6, "row_not_decodable")),
                row(7, &["5", "e"]),
            ]
        );
    }

    #[test]
    fn other_encodings_become_text() {
        let latin = b"id;name\n1;M\xfcller\n";
        assert_eq!(rows(latin, &form(encoding_rs::WINDOWS_1252, b';')), [row(2, &["1", "Müller"])]);
        let utf16: Vec<u8> = "id;name\n1;Müller\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(rows(&utf16, &form(encoding_rs::UTF_16LE, b';')), [row(2, &["1", "Müller"])]);
    }

    #[test]
    fn lines_before_the_header_are_skipped_and_counted() {
        let form = FileForm { skip_lines: 2, ..form(encoding_rs::UTF_8, b',') };
        assert_eq!(rows(b"Bank\nof 2024\nid,b\n1,2\n", &form), [row(4, &["1", "2"])]);
    }

    #[test]
    fn a_gzip_file_is_read_as_it_is() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv.gz");
        let mut encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::best());
        encoder.write_all(b"id,b\n1,2\n").unwrap();
        encoder.finish().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let mut reader = RowReader::open(&path, &form(encoding_rs::UTF_8, b','), Arc::clone(&count)).unwrap();
        assert_eq!(&reader.next_row().unwrap().unwrap().fields[1], "2");
        assert!(reader.next_row().is_none());
        assert_eq!(count.load(Ordering::Relaxed), std::fs::metadata(&path).unwrap().len());
    }
}
