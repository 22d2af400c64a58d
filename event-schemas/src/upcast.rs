//! Where old event versions are lifted to the newest when they are read.
//!
//! Version 1 is the newest of every event, so nothing is lifted yet. When an event gets a version 2, its reader of version 1
//! stays as it is in [`crate::event`], its arm here turns what that reader returns into the new body, and the golden files
//! of version 1 go on proving it.

use crate::codec::{CodecError, Reader};
use crate::event::EventBody;

/// Reads the body of an event, whatever released version it was written in.
pub(crate) fn read_body(type_number: u8, version: u8, reader: &mut Reader<'_>) -> Result<EventBody, CodecError> {
    match version {
        1 => EventBody::decode_v1(type_number, reader),
        other => Err(CodecError::UnknownTag { what: "event version", tag: other.into() }),
    }
}
