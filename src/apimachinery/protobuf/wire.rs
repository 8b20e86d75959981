//! Protobuf's wire: varints, tags, lengths.

use super::DecodeError;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/// How a field's value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WireType(u32);

#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(bytes),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn key(&mut self, tag: u32, wire: u32) {
        self.put_varint(u64::from(tag) << 3 | u64::from(wire));
    }

    /// Bool, int32 and int64; negative numbers take ten bytes, as in Go.
    pub(crate) fn varint(&mut self, tag: u32, value: i64) {
        self.key(tag, VARINT);
        self.put_varint(value as u64);
    }

    pub(crate) fn double(&mut self, tag: u32, value: f64) {
        self.key(tag, FIXED64);
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.length(tag, bytes.len());
        self.raw(bytes);
    }

    /// What stands before so many bytes.
    pub(crate) fn length(&mut self, tag: u32, bytes: usize) {
        self.key(tag, LENGTH);
        self.put_varint(bytes as u64);
    }

    pub(crate) fn nested(&mut self, tag: u32, write: impl FnOnce(&mut Writer)) {
        let never: Result<(), std::convert::Infallible> = self.try_nested(tag, |out| {
            write(out);
            Ok(())
        });
        let Ok(()) = never;
    }

    /// A nested message; its length is put before it once it is known.
    pub(crate) fn try_nested<E>(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), E>,
    ) -> Result<(), E> {
        self.key(tag, LENGTH);
        let start = self.out.len();
        self.out.push(0);
        write(self)?;
        let length = self.out.len() - start - 1;
        if length < 0x80 {
            self.out[start] = length as u8;
            return Ok(());
        }
        // The length goes behind what it is the length of, then the two change places.
        self.put_varint(length as u64);
        let prefix = self.out.len() - start - 1 - length;
        let mut varint = [0; 10];
        varint[..prefix].copy_from_slice(&self.out[start + 1 + length..]);
        self.out.truncate(start + length + prefix);
        self.out
            .copy_within(start + 1..start + 1 + length, start + prefix);
        self.out[start..start + prefix].copy_from_slice(&varint[..prefix]);
        Ok(())
    }
}

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

type WireResult<T> = std::result::Result<T, DecodeError>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The next field's number and layout; `None` at the end.
    pub(crate) fn tag(&mut self) -> WireResult<Option<(u32, WireType)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.take_varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| DecodeError::IllegalTag)?;
        if tag == 0 {
            return Err(DecodeError::IllegalTag);
        }
        Ok(Some((tag, WireType((key & 7) as u32))))
    }

    fn take_varint(&mut self) -> WireResult<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Overflow)
    }

    fn take(&mut self, length: u64) -> WireResult<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn varint(&mut self, wire: WireType) -> WireResult<i64> {
        expect(wire, VARINT)?;
        Ok(self.take_varint()? as i64)
    }

    pub(crate) fn double(&mut self, wire: WireType) -> WireResult<f64> {
        expect(wire, FIXED64)?;
        let bytes = self.take(8)?;
        Ok(f64::from_le_bytes(
            bytes.try_into().map_err(|_| DecodeError::Truncated)?,
        ))
    }

    pub(crate) fn bytes(&mut self, wire: WireType) -> WireResult<&'a [u8]> {
        expect(wire, LENGTH)?;
        let length = self.take_varint()?;
        self.take(length)
    }

    /// A string; bytes that are no UTF-8 are replaced, as Go's JSON encoder would.
    pub(crate) fn text(&mut self, wire: WireType) -> WireResult<String> {
        Ok(String::from_utf8_lossy(self.bytes(wire)?).into_owned())
    }

    /// Integers of a repeated field: one, or a packed run of them.
    pub(crate) fn integers(&mut self, wire: WireType) -> WireResult<Vec<i64>> {
        if wire.0 != LENGTH {
            return Ok(vec![self.varint(wire)?]);
        }
        let mut packed = Reader::new(self.bytes(wire)?);
        let mut out = Vec::new();
        while !packed.rest.is_empty() {
            out.push(packed.take_varint()? as i64);
        }
        Ok(out)
    }

    /// Passes over a field that the type does not have.
    pub(crate) fn skip(&mut self, wire: WireType) -> WireResult<()> {
        let mut groups = 0_u32;
        let mut wire = wire;
        loop {
            match wire.0 {
                VARINT => drop(self.take_varint()?),
                FIXED64 => drop(self.take(8)?),
                FIXED32 => drop(self.take(4)?),
                LENGTH => drop(self.bytes(wire)?),
                START_GROUP => groups += 1,
                END_GROUP if groups > 0 => groups -= 1,
                other => return Err(DecodeError::WireType { found: other }),
            }
            if groups == 0 {
                return Ok(());
            }
            wire = self.tag()?.ok_or(DecodeError::Truncated)?.1;
        }
    }
}

fn expect(found: WireType, wanted: u32) -> WireResult<()> {
    if found.0 == wanted {
        Ok(())
    } else {
        Err(DecodeError::WireType { found: found.0 })
    }
}
