//! Protocol buffers, written only: what event files of TensorBoard and ONNX graphs are
//! made of.
//!
//! Both need a handful of fields of a handful of messages, and one of their writers is in
//! `spar-policy`, which deploys on few dependencies; generated types would bring a compiler
//! and a run time for them. Wire format: "Encoding" of the protocol buffers' documentation.

/// A message under construction. Fields stand in the order in which they are added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

/// How a field's value lies on the wire.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Bits64 = 1,
    Length = 2,
    Bits32 = 5,
}

impl Message {
    /// One without fields.
    pub fn new() -> Self {
        Self::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    /// With an integer: `int64`, `uint64`, `int32` not below zero, `bool` or an enum.
    #[must_use]
    pub fn int(mut self, field: u32, value: u64) -> Self {
        self.tag(field, Wire::Varint);
        self.varint(value);
        self
    }

    /// With a `float`.
    #[must_use]
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.tag(field, Wire::Bits32);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// With a `double`.
    #[must_use]
    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.tag(field, Wire::Bits64);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// With `bytes`.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.tag(field, Wire::Length);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// With a `string`.
    #[must_use]
    pub fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// With another message.
    #[must_use]
    pub fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// As it lies on the wire.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    /// The examples of the documentation: `150` in field 1, `testing` in field 2, and the
    /// first of them inside field 3.
    #[test]
    fn the_documentation_s_messages_have_its_bytes() {
        let number = Message::new().int(1, 150);
        assert_eq!(number.clone().into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::new().text(2, "testing");
        assert_eq!(text.into_bytes(), b"\x12\x07testing");
        let nested = Message::new().message(3, &number);
        assert_eq!(nested.into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }

    #[test]
    fn numbers_of_fixed_width_are_little_endian() {
        let float = Message::new().float(1, 1.0);
        assert_eq!(float.into_bytes(), [0x0d, 0, 0, 0x80, 0x3f]);
        let double = Message::new().double(16, -2.0);
        assert_eq!(double.into_bytes(), [0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0xc0]);
        let most = Message::new().int(1, u64::MAX);
        assert_eq!(most.into_bytes().len(), 11);
    }
}
