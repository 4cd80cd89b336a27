//! Reading one tag-length-value after another from hostile bytes, as leniently as OpenSSL's
//! `d2i` does (BER lengths), so that what nginx prints for a sloppy certificate can be printed here too.

use x509_parser::asn1_rs::{Any, Class, FromBer};

/// One element: its identifier, its content, and its whole encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) class: Class,
    pub(super) constructed: bool,
    pub(super) tag: u32,
    pub(super) content: &'a [u8],
    pub(super) raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// Whether this is the universal type `tag` in the form the type has in DER.
    pub(super) fn is(&self, tag: u32) -> bool {
        let form = matches!(tag, SEQUENCE | SET);
        self.class == Class::Universal && self.tag == tag && self.constructed == form
    }

    /// Whether this carries the context-specific tag `tag`.
    pub(super) fn is_context(&self, tag: u32) -> bool {
        self.class == Class::ContextSpecific && self.tag == tag
    }

    /// The elements inside.
    pub(super) fn inside(&self) -> Reader<'a> {
        Reader(self.content)
    }
}

/// The elements of some bytes, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all bytes were read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is. None at the end or if the bytes are no element.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (rest, any) = Any::from_ber(self.0).ok()?;
        let raw = self.0.get(..self.0.len().checked_sub(rest.len())?)?;
        self.0 = rest;
        Some(Element {
            class: any.class(),
            constructed: any.header.is_constructed(),
            tag: any.tag().0,
            content: any.data,
            raw,
        })
    }

    /// The next element, which must be of the universal type `tag`.
    pub(super) fn next(&mut self, tag: u32) -> Option<Element<'a>> {
        self.any().filter(|element| element.is(tag))
    }

    /// The next element if `wanted` accepts it; otherwise nothing is read.
    pub(super) fn next_if(
        &mut self,
        wanted: impl FnOnce(&Element<'a>) -> bool,
    ) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.any().filter(wanted)?;
        *self = ahead;
        Some(element)
    }
}

pub(super) const BOOLEAN: u32 = 1;
pub(super) const INTEGER: u32 = 2;
pub(super) const BIT_STRING: u32 = 3;
pub(super) const OCTET_STRING: u32 = 4;
pub(super) const OBJECT_IDENTIFIER: u32 = 6;
pub(super) const SEQUENCE: u32 = 16;
pub(super) const SET: u32 = 17;
