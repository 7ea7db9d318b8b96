//! How serde walks through the lists, maps and choices of a [`Reader`].

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::read_error::{At, ReadError};
use crate::reader::{Reader, identity};
use crate::stand_in::StandIn;
use crate::tree::{Entry, Node};

/// The items of a list, without those that are left out.
pub(crate) struct Items<'a> {
    parent: &'a Reader<'a>,
    items: &'a [Node],
    next: usize,
}

impl<'a> Items<'a> {
    pub(crate) fn of(parent: &'a Reader<'a>, items: &'a [Node]) -> Items<'a> {
        Items { parent, items, next: 0 }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        while let Some(item) = self.items.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !self.parent.is_left_out(item) {
                return seed.deserialize(self.parent.in_list(index, item)).map(Some);
            }
        }
        Ok(None)
    }
}

/// The entries of a map, without those that are left out, and stand-ins for missing keys.
pub(crate) struct Entries<'a> {
    parent: &'a Reader<'a>,
    entries: &'a [Entry],
    missing: &'a [&'static str],
    current: Option<&'a Entry>,
}

impl<'a> Entries<'a> {
    pub(crate) fn of(parent: &'a Reader<'a>) -> Result<Entries<'a>, ReadError> {
        let missing = parent.found.missing.get(&identity(parent.node));
        Ok(Entries {
            parent,
            entries: parent.entries()?,
            missing: missing.map_or(&[], Vec::as_slice),
            current: None,
        })
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        while let Some((entry, rest)) = self.entries.split_first() {
            self.entries = rest;
            if self.parent.is_left_out(&entry.value) {
                continue;
            }
            self.current = Some(entry);
            let key: StrDeserializer<'_, ReadError> = entry.key.text.as_str().into_deserializer();
            return seed.deserialize(key).map(Some).map_err(|error| {
                let reader = self.parent.in_map(entry);
                error.or_at(|| At { span: entry.key.span, ..reader.at() })
            });
        }
        let Some((key, rest)) = self.missing.split_first() else { return Ok(None) };
        self.missing = rest;
        self.current = None;
        let key: StrDeserializer<'_, ReadError> = (*key).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        match self.current.take() {
            Some(entry) => seed.deserialize(self.parent.in_map(entry)),
            None => seed.deserialize(StandIn).map_err(|_| {
                let error = ReadError::consequence();
                error.or_at(|| self.parent.at())
            }),
        }
    }
}

/// A value that chooses one of several forms: `name`, or `{name: value}`.
pub(crate) struct Choice<'a> {
    reader: &'a Reader<'a>,
    name: &'a str,
    entry: Option<&'a Entry>,
}

impl<'a> Choice<'a> {
    pub(crate) fn of(
        reader: &'a Reader<'a>,
        name: &'a str,
        entry: Option<&'a Entry>,
    ) -> Choice<'a> {
        Choice { reader, name, entry }
    }

    fn value(&self) -> Result<Reader<'a>, ReadError> {
        match self.entry {
            Some(entry) => Ok(self.reader.in_map(entry)),
            None => {
                let hint = format!("write `{{{}: ...}}`", self.name);
                Err(ReadError::new(format!("`{}` needs a value", self.name), Some(hint)))
            }
        }
    }
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ReadError> {
        let name: StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        let variant = seed.deserialize(name).map_err(|error| match self.entry {
            Some(entry) => error.or_at(|| At { span: entry.key.span, ..self.reader.at() }),
            None => error,
        })?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.entry {
            None => Ok(()),
            Some(entry) => {
                let hint = format!("write only `{}`", self.name);
                let error = ReadError::new(format!("`{}` takes no value", self.name), Some(hint));
                Err(error.or_at(|| At { span: entry.key.span, ..self.reader.at() }))
            }
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ReadError> {
        seed.deserialize(self.value()?)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.value()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.value()?.deserialize_struct("", fields, visitor)
    }
}
