//! The text of a framing, as it stands in addresses, options and configuration files.
//!
//! ```text
//! framing   = "none" | "line" | "line:crlf" | "delimiter:" bytes | "fixed:" number
//!           | ("u8" | "u16" | "u32" | "u64") ["be" | "le"] | "varint" | "netstring"
//!           | "length:" field *("," field)
//!           | ("cobs" | "slip") [":strict"]    ; a broken frame is skipped, or ends the stream
//!           | "gap:" number ["." number] ("us" | "ms" | "s")
//! bytes     = "0x" 1*(2 hex digits)            ; hexadecimal, or
//!           | 1*(character | "%" 2 hex digits)  ; as it stands, "%" for odd bytes
//! field     = "size=" number                   ; 1 to 8, required
//!           | "offset=" number                  ; default 0
//!           | "order=" ("be" | "le")            ; default be
//!           | "adjust=" ["+" | "-"] number      ; default 0
//! ```
//! Names are in lower case; fields come in any order, each at most once. A delimiter that is the
//! text `0x...` itself is written `%30x...`. The canonical text writes a delimiter as it stands
//! when it is plain ASCII that needs no escape here or in an address, in hexadecimal otherwise, and
//! all four fields of `length`; a gap in the largest unit in which it is a whole number.

use super::delimiter::Delimiter;
use super::integer::{Integer, Width};
use super::length::LengthField;
use super::line::Line;
use super::stuffed::{self, Code, Stuffed};
use super::{Framer, Kind, SpecError, gap};
use std::fmt::Write;

const NAMES: &str =
    "none, line, delimiter:, fixed:, u8, u16, u32, u64, varint, netstring, length:, cobs, slip and gap:";

pub(super) fn parse(text: &str, max_message: usize) -> Result<Framer, SpecError> {
    let text = Text(text);
    let max_message = max_message.min(super::LONGEST).min(isize::MAX.unsigned_abs());
    if max_message == 0 {
        return Err(text.fault(0, "the longest message must have at least 1 byte"));
    }
    let (name, argument) = match text.0.split_once(':') {
        Some((name, argument)) => (name, Some((name.len() + 1, argument))),
        None => (text.0, None),
    };
    let kind = match (name, argument) {
        ("line", Some((_, "crlf"))) => Kind::Line(Line::Crlf),
        ("line", Some((at, _))) => return Err(text.fault(at, "after line: comes only crlf")),
        ("delimiter", Some((at, _))) => Kind::Delimiter(Box::new(text.delimiter(at)?)),
        ("delimiter", None) => {
            let message = "the delimiter is missing, as in delimiter:END or delimiter:0x0d0a";
            return Err(text.fault(text.0.len(), message));
        }
        ("fixed", Some((at, digits))) => Kind::Fixed(text.fixed(at, digits, max_message)?),
        ("fixed", None) => {
            return Err(text.fault(text.0.len(), "the size is missing, as in fixed:16"));
        }
        ("length", Some((at, fields))) => Kind::LengthField(text.length_field(at, fields, max_message)?),
        ("length", None) => {
            let message = "the fields are missing, as in length:offset=2,size=2,order=be,adjust=4";
            return Err(text.fault(text.0.len(), message));
        }
        ("cobs" | "slip", argument) => {
            let strict = match argument {
                None => false,
                Some((_, "strict")) => true,
                Some((at, _)) => return Err(text.fault(at, format!("after {name}: comes only strict"))),
            };
            Kind::Stuffed(Stuffed { code: if name == "cobs" { Code::Cobs } else { Code::Slip }, strict })
        }
        ("gap", Some((at, time))) => Kind::Gap(text.gap(at, time)?),
        ("gap", None) => return Err(text.fault(text.0.len(), "the time is missing, as in gap:20ms")),
        (_, argument) => match (plain(name), argument) {
            (Some(kind), None) => kind,
            (Some(_), Some((at, _))) => {
                return Err(text.fault(at - 1, format!("{name} takes nothing after its name")));
            }
            (None, _) => {
                return Err(text.fault(0, format!("no framing has this name; there are {NAMES}")));
            }
        },
    };
    let max_message = if matches!(kind, Kind::Stuffed(_)) { max_message.min(stuffed::LONGEST) } else { max_message };
    Ok(Framer { kind, max_message })
}

/// The framings that are a name and nothing else.
fn plain(name: &str) -> Option<Kind> {
    Some(match name {
        "none" => Kind::None,
        "line" => Kind::Line(Line::Lf),
        "varint" => Kind::Varint,
        "netstring" => Kind::Netstring,
        _ => {
            let (number, little_endian) = match name.strip_suffix("le") {
                Some(number) => (number, true),
                None => (name.strip_suffix("be").unwrap_or(name), false),
            };
            let width = match number {
                "u8" => Width::One,
                "u16" => Width::Two,
                "u32" => Width::Four,
                "u64" => Width::Eight,
                _ => return None,
            };
            Kind::Integer(Integer { width, little_endian: little_endian && width != Width::One })
        }
    })
}

/// The whole text, to which byte offsets belong.
struct Text<'a>(&'a str);

impl Text<'_> {
    fn fault(&self, offset: usize, message: impl Into<String>) -> SpecError {
        let before = self.0.get(..offset).unwrap_or(self.0);
        SpecError { message: message.into(), position: before.chars().count() }
    }

    fn delimiter(&self, at: usize) -> Result<Delimiter, SpecError> {
        let text = self.0.get(at..).unwrap_or_default();
        let bytes = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => self.hexadecimal(at + 2, digits.as_bytes())?,
            None => self.percent_decoded(at, text.as_bytes())?,
        };
        if bytes.is_empty() {
            return Err(self.fault(self.0.len(), "the delimiter is empty"));
        }
        if bytes.len() > Delimiter::LONGEST {
            let message = format!("a delimiter has at most {} bytes", Delimiter::LONGEST);
            return Err(self.fault(at, message));
        }
        Ok(Delimiter::new(&bytes))
    }

    fn hexadecimal(&self, at: usize, digits: &[u8]) -> Result<Vec<u8>, SpecError> {
        let mut bytes = Vec::with_capacity(digits.len() / 2);
        for (index, pair) in digits.chunks(2).enumerate() {
            let bad = pair.iter().position(|byte| !byte.is_ascii_hexdigit());
            match (hex_pair(pair), bad) {
                (Some(byte), _) => bytes.push(byte),
                (None, Some(bad)) => {
                    let message = "not a hexadecimal digit (a delimiter that is the text 0x... \
                                   itself is written %30x...)";
                    return Err(self.fault(at + 2 * index + bad, message));
                }
                (None, None) => {
                    let message = "the last byte has one hexadecimal digit and needs two";
                    return Err(self.fault(at + 2 * index, message));
                }
            }
        }
        Ok(bytes)
    }

    fn percent_decoded(&self, at: usize, text: &[u8]) -> Result<Vec<u8>, SpecError> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let [first, after @ ..] = rest {
            rest = after;
            if *first != b'%' {
                bytes.push(*first);
                continue;
            }
            let Some(byte) = rest.get(..2).and_then(hex_pair) else {
                let offset = at + text.len() - rest.len() - 1;
                let message = "after % come two hexadecimal digits (%25 is % itself)";
                return Err(self.fault(offset, message));
            };
            bytes.push(byte);
            rest = rest.get(2..).unwrap_or_default();
        }
        Ok(bytes)
    }

    fn fixed(&self, at: usize, digits: &str, max_message: usize) -> Result<usize, SpecError> {
        let size = self.number(at, digits)?;
        if size == 0 {
            return Err(self.fault(at, "the size must be at least 1"));
        }
        match usize::try_from(size) {
            Ok(size) if size <= max_message => Ok(size),
            _ => {
                let message = format!("{size} is more than the longest message, {max_message}");
                Err(self.fault(at, message))
            }
        }
    }

    fn length_field(&self, at: usize, fields: &str, max_message: usize) -> Result<LengthField, SpecError> {
        let (mut offset, mut size, mut little_endian, mut adjust) = (None, None, None, None);
        let mut field_at = at;
        for field in fields.split(',') {
            let Some((name, value)) = field.split_once('=') else {
                let message = "a field is written name=value, as in size=2";
                return Err(self.fault(field_at, message));
            };
            let value_at = field_at + name.len() + 1;
            let twice = match name {
                "offset" => offset.replace(self.number(value_at, value)?).is_some(),
                "size" => size.replace(self.size(value_at, value)?).is_some(),
                "order" => little_endian.replace(self.order(value_at, value)?).is_some(),
                "adjust" => adjust.replace(self.signed(value_at, value)?).is_some(),
                _ => {
                    let message = "there are the fields offset, size, order and adjust";
                    return Err(self.fault(field_at, message));
                }
            };
            if twice {
                return Err(self.fault(field_at, format!("{name} stands there twice")));
            }
            field_at += field.len() + 1;
        }
        let Some(size) = size else {
            return Err(self.fault(self.0.len(), "the field size= is missing"));
        };
        let too_long = |frame: i128| {
            let message = format!(
                "a frame would have at least {frame} bytes and the longest message has \
                 {max_message}"
            );
            self.fault(at, message)
        };
        let offset = offset.unwrap_or(0);
        let offset = match usize::try_from(offset) {
            Ok(offset) if offset <= max_message => offset,
            _ => return Err(too_long(i128::from(offset))),
        };
        let field =
            LengthField { offset, size, little_endian: little_endian.unwrap_or(false), adjust: adjust.unwrap_or(0) };
        let shortest = field.total(0).max(field.header() as i128);
        if shortest > max_message as i128 {
            return Err(too_long(shortest));
        }
        if field.total(field.largest()) < field.header() as i128 {
            let message = "adjust takes away more than the length can say";
            return Err(self.fault(at, message));
        }
        Ok(field)
    }

    /// A time in nanoseconds.
    fn gap(&self, at: usize, time: &str) -> Result<u64, SpecError> {
        let split = time.find(|letter: char| letter != '.' && !letter.is_ascii_digit()).unwrap_or(time.len());
        let (number, unit) = time.split_at(split);
        let Some((_, unit_ns, places)) = UNITS.into_iter().find(|(name, ..)| *name == unit) else {
            let message = "a time has a unit: us, ms or s, as in gap:20ms";
            return Err(self.fault(at + split, message));
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let fraction_at = at + whole.len() + 1;
        let mut gap_ns = u128::from(self.number(at, whole)?) * u128::from(unit_ns);
        if fraction.len() > places {
            return Err(self.fault(fraction_at + places, "finer than a nanosecond"));
        }
        let parts = u128::from(self.number(if whole.len() == split { at } else { fraction_at }, fraction)?);
        gap_ns += parts * u128::from(unit_ns) / 10u128.pow(fraction.len() as u32);
        match u64::try_from(gap_ns) {
            Ok(gap_ns) if gap::BOUNDS.contains(&gap_ns) => Ok(gap_ns),
            _ => Err(self.fault(at, "a gap is between 1us and 3600s")),
        }
    }

    fn size(&self, at: usize, digits: &str) -> Result<usize, SpecError> {
        match self.number(at, digits)? {
            size @ 1..=8 => Ok(size as usize),
            _ => Err(self.fault(at, "the length field has 1 to 8 bytes")),
        }
    }

    fn order(&self, at: usize, value: &str) -> Result<bool, SpecError> {
        match value {
            "be" => Ok(false),
            "le" => Ok(true),
            _ => Err(self.fault(at, "the order is be or le")),
        }
    }

    fn signed(&self, at: usize, value: &str) -> Result<i64, SpecError> {
        let (sign, digits) = match value.as_bytes().first() {
            Some(b'-') => (-1, &value[1..]),
            Some(b'+') => (1, &value[1..]),
            _ => (1, value),
        };
        let number = self.number(at + value.len() - digits.len(), digits)?;
        i64::try_from(number).map(|number| sign * number).map_err(|_| self.fault(at, "the number is too large"))
    }

    fn number(&self, at: usize, digits: &str) -> Result<u64, SpecError> {
        if digits.is_empty() {
            return Err(self.fault(at, "a number is missing"));
        }
        if let Some(bad) = digits.bytes().position(|byte| !byte.is_ascii_digit()) {
            return Err(self.fault(at + bad, "not a decimal digit"));
        }
        digits.parse().map_err(|_| self.fault(at, "the number is too large"))
    }
}

/// Units of time, in nanoseconds, and how many decimal places they have until then.
const UNITS: [(&str, u64, usize); 3] = [("s", 1_000_000_000, 9), ("ms", 1_000_000, 6), ("us", 1_000, 3)];

fn gap_text(gap_ns: u64) -> String {
    match UNITS.into_iter().find(|(_, unit_ns, _)| gap_ns.is_multiple_of(*unit_ns)) {
        Some((unit, unit_ns, _)) => format!("{}{unit}", gap_ns / unit_ns),
        None => format!("{}.{:03}us", gap_ns / 1_000, gap_ns % 1_000),
    }
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let &[high, low] = digits else { return None };
    let value = char::from(high).to_digit(16)? << 4 | char::from(low).to_digit(16)?;
    u8::try_from(value).ok()
}

pub(super) fn canonical(framer: &Framer) -> String {
    match &framer.kind {
        Kind::None => "none".into(),
        Kind::Line(Line::Lf) => "line".into(),
        Kind::Line(Line::Crlf) => "line:crlf".into(),
        Kind::Delimiter(delimiter) => format!("delimiter:{}", delimiter_text(delimiter.bytes())),
        Kind::Fixed(size) => format!("fixed:{size}"),
        Kind::Integer(Integer { width, little_endian }) => {
            let name = match width {
                Width::One => "u8",
                Width::Two => "u16",
                Width::Four => "u32",
                Width::Eight => "u64",
            };
            format!("{name}{}", if *little_endian { "le" } else { "" })
        }
        Kind::Varint => "varint".into(),
        Kind::Netstring => "netstring".into(),
        Kind::LengthField(LengthField { offset, size, little_endian, adjust }) => {
            let order = if *little_endian { "le" } else { "be" };
            format!("length:offset={offset},size={size},order={order},adjust={adjust}")
        }
        Kind::Stuffed(Stuffed { code, strict }) => {
            let name = if *code == Code::Cobs { "cobs" } else { "slip" };
            format!("{name}{}", if *strict { ":strict" } else { "" })
        }
        Kind::Gap(gap_ns) => format!("gap:{}", gap_text(*gap_ns)),
    }
}

fn delimiter_text(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"%&?#,=+".contains(byte);
    let looks_hexadecimal = bytes.starts_with(b"0x") || bytes.starts_with(b"0X");
    if bytes.iter().all(plain) && !looks_hexadecimal {
        return bytes.iter().copied().map(char::from).collect();
    }
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
