//! Lets requests pass whose `:authority` is no authority, as grpc-go does.
//!
//! Over a unix socket there is no host, and clients fill in what they have: gRPC's C core, and so
//! Python, C++, Ruby and PHP, sends the path with percent signs, grpc-java the path as it is. The
//! HTTP/2 library resets such a stream before anybody sees it. So the bytes that it minds are
//! replaced while a header block goes by.
//!
//! The length stays the same. The entry that the library puts into its table then has the size that
//! the client counts with, and later blocks, which only name the entry, mean the replaced value.
//! The name may be spelled out, as the C core does, or be its place in the static table.
//! Strings in Huffman's code are left alone: no client is known that sends a path in it.
//! Of a block only the first frame is looked at; `:authority` stands near its front.

/// Flags of a HEADERS frame.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const NAME: &[u8] = b":authority";
/// Index of that name in HPACK's static table.
const NAME_INDEX: u32 = 1;
/// A longer integer is no honest length; the library will see to it.
const SHIFT_MAX: u32 = 21;

/// What the next byte of a header block is (RFC 7541, section 6).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// No header block, or nothing more to look for in it.
    #[default]
    Nothing,
    /// Padding length and priority, this many bytes.
    Prelude(u8),
    /// The first byte of a field.
    Field,
    /// More of an integer.
    Integer { value: u32, shift: u32, of: Of },
    /// The first byte of a string.
    Length(Text),
    /// The bytes of a string.
    Bytes { left: u32, of: Bytes },
}

/// What an integer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The place of a field in the tables, or a new size of the table.
    Whole,
    /// The place of a field's name, with its value after it.
    Name,
    /// The length of a string.
    Length { text: Text, huffman: bool },
}

/// What a string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Name,
    Value,
    Authority,
}

/// What is done with the bytes of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bytes {
    /// A name: is it the one? So many bytes are, none if one was not.
    Compare(Option<u8>),
    Skip,
    Replace,
}

/// Walks through header blocks that come in arbitrary parts.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    next: Next,
}

impl Authorities {
    /// A HEADERS frame begins.
    pub(super) fn begin(&mut self, flags: u8) {
        let padding = u8::from(flags & PADDED != 0);
        let priority = if flags & PRIORITY != 0 { 5 } else { 0 };
        self.next = match padding + priority {
            0 => Next::Field,
            bytes => Next::Prelude(bytes),
        };
    }

    /// Another frame begins.
    pub(super) fn end(&mut self) {
        self.next = Next::Nothing;
    }

    /// A part of the frame's payload goes by.
    pub(super) fn pass(&mut self, mut part: &mut [u8]) {
        while !part.is_empty() && self.next != Next::Nothing {
            let taken = match &mut self.next {
                Next::Bytes { left, of } => {
                    let taken = part.len().min(*left as usize);
                    *left -= taken as u32;
                    of.pass(&mut part[..taken]);
                    taken
                }
                next => {
                    *next = next.after(part[0]);
                    1
                }
            };
            if let Next::Bytes { left: 0, of } = self.next {
                self.next = match of {
                    Bytes::Compare(Some(same)) if usize::from(same) == NAME.len() => {
                        Next::Length(Text::Authority)
                    }
                    Bytes::Compare(_) => Next::Length(Text::Value),
                    Bytes::Skip | Bytes::Replace => Next::Field,
                };
            }
            part = &mut part[taken..];
        }
    }
}

impl Next {
    /// What comes after a byte, if this is what it was. Not for the bytes of a string.
    fn after(self, byte: u8) -> Next {
        match self {
            Next::Prelude(1) => Next::Field,
            Next::Prelude(left) => Next::Prelude(left - 1),
            Next::Field => match byte {
                0x80.. => integer(byte, 7, Of::Whole),
                0x40.. => integer(byte, 6, Of::Name),
                0x20.. => integer(byte, 5, Of::Whole),
                _ => integer(byte, 4, Of::Name),
            },
            Next::Length(text) => {
                let huffman = byte & 0x80 != 0;
                integer(byte, 7, Of::Length { text, huffman })
            }
            Next::Integer { value, shift, of } if shift <= SHIFT_MAX => {
                let value = value + (u32::from(byte & 0x7f) << shift);
                if byte & 0x80 == 0 {
                    of.with(value)
                } else {
                    let shift = shift + 7;
                    Next::Integer { value, shift, of }
                }
            }
            Next::Integer { .. } | Next::Bytes { .. } | Next::Nothing => Next::Nothing,
        }
    }
}

/// An integer whose first byte has this many bits for it (RFC 7541, section 5.1).
fn integer(byte: u8, bits: u32, of: Of) -> Next {
    let full = (1_u32 << bits) - 1;
    let value = u32::from(byte) & full;
    if value == full {
        Next::Integer {
            value,
            shift: 0,
            of,
        }
    } else {
        of.with(value)
    }
}

impl Of {
    /// What comes after the integer.
    fn with(self, value: u32) -> Next {
        match self {
            Of::Whole => Next::Field,
            Of::Name => Next::Length(match value {
                0 => Text::Name,
                NAME_INDEX => Text::Authority,
                _ => Text::Value,
            }),
            Of::Length { text, huffman } => Next::Bytes {
                left: value,
                of: match text {
                    Text::Name => Bytes::Compare((!huffman).then_some(0)),
                    Text::Authority if !huffman => Bytes::Replace,
                    Text::Authority | Text::Value => Bytes::Skip,
                },
            },
        }
    }
}

impl Bytes {
    fn pass(&mut self, part: &mut [u8]) {
        match self {
            Bytes::Compare(same) => {
                for byte in part.iter() {
                    let at = same.map_or(NAME.len(), usize::from);
                    *same = (NAME.get(at) == Some(byte)).then_some(at as u8 + 1);
                }
            }
            Bytes::Skip => {}
            Bytes::Replace => part.iter_mut().for_each(make_valid),
        }
    }
}

/// Replaces a byte that cannot stand in an authority (RFC 3986, section 3.2).
fn make_valid(byte: &mut u8) {
    if !(byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@[]".contains(byte)) {
        *byte = b'-';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &[u8] = b"%2Ftmp%2Fsome folder%2Fsocket";
    const VALID: &[u8] = b"-2Ftmp-2Fsome-folder-2Fsocket";

    fn string(text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if text.len() < 127 {
            bytes.push(text.len() as u8);
        } else {
            bytes.extend([127, (text.len() - 127) as u8 | 0x80, 0]);
        }
        bytes.extend(text);
        bytes
    }

    /// The name of a field: its place in the static table, with, without and never with an entry
    /// in the other table, or spelled out.
    const NAMES: [&[u8]; 4] = [&[0x41], &[0x01], &[0x11], b"\x40\x0a:authority"];

    /// A block with everything that comes before an authority, and something after it.
    fn block(name: &[u8], authority: &[u8]) -> Vec<u8> {
        let mut bytes = vec![
            0x3f, 0xe1, 0x1f, // The table's size, in three bytes.
            0x83, // A field of the static table.
            0xff, 0x05, // A field of the dynamic table, in two bytes.
            0x0f, 0x2f, // A field whose name is in the dynamic table, in two bytes.
        ];
        bytes.extend(string(b"%/"));
        for name in [&b":authority%"[..], b":authorit", b"authority", b""] {
            bytes.push(0x40);
            bytes.extend(string(name));
            bytes.extend(string(b"100%"));
        }
        bytes.extend(name);
        bytes.extend(string(authority));
        bytes.push(0x44);
        bytes.extend(string(b"/etcdserverpb.KV/Range"));
        bytes
    }

    fn passed(flags: u8, bytes: &[u8], step: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let mut authorities = Authorities::default();
        authorities.begin(flags);
        for part in bytes.chunks_mut(step) {
            authorities.pass(part);
        }
        bytes
    }

    #[test]
    fn a_path_becomes_an_authority_of_the_same_length_however_the_bytes_are_cut() {
        let long = PATH.repeat(8);
        let valid = VALID.repeat(8);
        for name in NAMES {
            for (path, valid) in [(PATH, VALID), (&long, &valid)] {
                let bytes = block(name, path);
                for step in 1..=bytes.len() {
                    assert_eq!(passed(0, &bytes, step), block(name, valid));
                }
            }
        }
    }

    #[test]
    fn padding_and_priority_come_first() {
        // Were these the block, an authority would follow.
        for (flags, prelude) in [
            (PADDED, &[0x41][..]),
            (PRIORITY, &[0x80, 0, 0, 0, 0x41]),
            (PADDED | PRIORITY, &[0x41, 0, 0, 0, 0, 0x41]),
        ] {
            let bytes = [prelude, &block(&[0x41], PATH)].concat();
            for step in 1..=bytes.len() {
                let want = [prelude, &block(&[0x41], VALID)].concat();
                assert_eq!(passed(flags, &bytes, step), want);
            }
        }
    }

    #[test]
    fn what_is_valid_or_in_huffmans_code_is_left_alone() {
        for authority in ["localhost:2379", "[::1]:2379", "a_b~c", ""] {
            let bytes = block(&[0x41], authority.as_bytes());
            assert_eq!(passed(0, &bytes, 3), bytes);
        }
        let mut coded = vec![0x41, 0x80 | PATH.len() as u8];
        coded.extend(PATH);
        assert_eq!(passed(0, &coded, 3), coded);
    }

    #[test]
    fn other_frames_and_endless_integers_are_left_alone() {
        let mut bytes = block(&[0x41], PATH);
        let mut authorities = Authorities::default();
        authorities.pass(&mut bytes);
        authorities.begin(0);
        authorities.end();
        authorities.pass(&mut bytes);
        assert_eq!(bytes, block(&[0x41], PATH));
        let endless = [&[0xff; 40][..], &block(&[0x41], PATH)].concat();
        assert_eq!(passed(0, &endless, 7), endless);
    }
}
