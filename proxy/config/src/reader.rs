//! A serde deserializer over a tree that knows the path and place of every value.

use std::collections::{HashMap, HashSet};

use serde::de::{Deserializer, Error as _, Visitor};

use crate::read_error::{At, Fault, ReadError};
use crate::reader_access::{Choice, Entries, Items};
use crate::suggest;
use crate::tree::{Entry, Key, Meaning, Node, Span, Value, push_index, push_key};
use crate::written::AS_WRITTEN;

/// What tells one node of a tree from every other: nodes do not move while a tree is read.
pub(crate) fn identity(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// What earlier readings of the same tree found.
#[derive(Default)]
pub(crate) struct Found {
    /// Nodes that cannot be read and are passed over.
    pub(crate) left_out: HashSet<usize>,
    /// Keys that are missing from a node: given stand-ins, so that others can be found.
    pub(crate) missing: HashMap<usize, Vec<&'static str>>,
}

/// One value to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) node: &'a Node,
    way: Way<'a>,
    pub(crate) found: &'a Found,
}

/// How a value was reached from its parent.
#[derive(Clone, Copy)]
enum Way<'a> {
    Root(&'a str),
    Key(&'a Reader<'a>, &'a Key),
    Index(&'a Reader<'a>, usize),
}

impl<'a> Reader<'a> {
    pub(crate) fn root(node: &'a Node, base: &'a str, found: &'a Found) -> Reader<'a> {
        Reader { node, way: Way::Root(base), found }
    }

    pub(crate) fn in_map(&'a self, entry: &'a Entry) -> Reader<'a> {
        Reader { node: &entry.value, way: Way::Key(self, &entry.key), found: self.found }
    }

    pub(crate) fn in_list(&'a self, index: usize, node: &'a Node) -> Reader<'a> {
        Reader { node, way: Way::Index(self, index), found: self.found }
    }

    pub(crate) fn at(&self) -> At {
        At { node: identity(self.node), path: self.path(), span: self.place() }
    }

    fn path(&self) -> String {
        match self.way {
            Way::Root(base) => base.to_owned(),
            Way::Key(parent, key) => {
                let mut path = parent.path();
                push_key(&mut path, &key.text);
                path
            }
            Way::Index(parent, index) => {
                let mut path = parent.path();
                push_index(&mut path, index);
                path
            }
        }
    }

    /// Scalars are shown themselves; lists, maps and what is empty by their key.
    fn place(&self) -> Span {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.meaning() != Meaning::Null => self.node.span,
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => match self.way {
                Way::Key(_, key) => key.span,
                Way::Root(_) | Way::Index(..) => first_key(self.node).unwrap_or(self.node.span),
            },
        }
    }

    pub(crate) fn is_left_out(&self, node: &Node) -> bool {
        self.found.left_out.contains(&identity(node))
    }

    fn meaning(&self) -> Option<Meaning<'a>> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar.meaning()),
            _ => None,
        }
    }

    /// The error for a value of another kind than wanted.
    fn unlike(&self, wanted: &str, hint: Option<String>) -> ReadError {
        if self.meaning() == Some(Meaning::Null) {
            let hint = match wanted {
                "a list" => "write its items, or `[]` for none".to_owned(),
                "a map" => "write its keys below it, or `{}` for none".to_owned(),
                _ => "write a value, or remove the key".to_owned(),
            };
            return ReadError::new(
                format!("{wanted} is expected, but there is nothing"),
                Some(hint),
            )
            .or_at(|| self.at());
        }
        let hint = hint.or_else(|| match (wanted, &self.node.value) {
            ("a map", Value::List(_)) => Some("write `name: ...` instead of `- ...`".to_owned()),
            ("a list", Value::Map(_)) => Some("begin each item with `- `".to_owned()),
            _ => None,
        });
        let found = match self.node.as_text() {
            Some(text) => format!("`{text}` is {}", self.node.kind_name()),
            None => format!("this is {}", self.node.kind_name()),
        };
        ReadError::new(format!("{found}, but {wanted} is expected"), hint).or_at(|| self.at())
    }

    fn whole_number(&self, minimum: i128, maximum: i128) -> Result<i128, ReadError> {
        if let Some(plain) = self.node.as_text().and_then(without_zeros) {
            // YAML 1.1 reads such a number as octal, YAML 1.2 as decimal.
            let message = "a number that begins with 0 can be read in two ways".to_owned();
            return Err(
                ReadError::new(message, Some(format!("write `{plain}`"))).or_at(|| self.at())
            );
        }
        let number = match self.meaning() {
            Some(Meaning::Unsigned(number)) => i128::from(number),
            Some(Meaning::Signed(number)) => i128::from(number),
            Some(Meaning::Text(text)) if text.parse::<i128>().is_ok() => {
                return Err(
                    self.unlike("a whole number", Some(format!("remove the quotes: `{text}`")))
                );
            }
            Some(Meaning::Text(text)) if text.replace('_', "").parse::<i128>().is_ok() => {
                let plain = text.replace('_', "");
                return Err(self.unlike("a whole number", Some(format!("write `{plain}`"))));
            }
            _ => return Err(self.unlike("a whole number", None)),
        };
        if number < minimum || number > maximum {
            let hint = format!("write a whole number from {minimum} to {maximum}");
            return Err(
                ReadError::new(format!("{number} is out of range"), Some(hint)).or_at(|| self.at())
            );
        }
        Ok(number)
    }

    fn text(&self, wanted: &str) -> Result<&'a str, ReadError> {
        match (self.meaning(), self.node.as_text()) {
            (Some(Meaning::Text(text)), _) => Ok(text),
            (Some(Meaning::Null) | None, _) | (_, None) => Err(self.unlike(wanted, None)),
            (Some(_), Some(text)) => {
                Err(self.unlike(wanted, Some(format!("put it in quotes: `\"{text}\"`"))))
            }
        }
    }

    pub(crate) fn entries(&self) -> Result<&'a [Entry], ReadError> {
        let node: &'a Node = self.node;
        node.as_map().ok_or_else(|| self.unlike("a map", None))
    }

    /// An error of `visit`: placed here unless further in, and silenced when what is missing was
    /// reported and left out before, perhaps under a misspelt key.
    fn settle(&self, error: ReadError) -> ReadError {
        let mut error = error.or_at(|| self.at());
        if let (Fault::Missing(key), Some(at)) = (&error.fault, &error.at)
            && at.node == identity(self.node)
            && self.node.as_map().unwrap_or(&[]).iter().any(|entry| {
                self.is_left_out(&entry.value)
                    && suggest::closest(&entry.key.text, [*key]).is_some()
            })
        {
            error.fault = Fault::MissingAsReported(key);
        }
        error
    }
}

fn first_key(node: &Node) -> Option<Span> {
    match &node.value {
        Value::Map(entries) => entries.first().map(|entry| entry.key.span),
        Value::List(items) => items.first().and_then(first_key),
        Value::Scalar(_) => None,
    }
}

/// The methods for one width of integer each: only the range differs.
macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.whole_number(<$type>::MIN.into(), <$type>::MAX.into())?;
            let number = <$type>::try_from(number).map_err(ReadError::custom)?;
            visitor.$visit(number).map_err(|error| self.settle(error))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let read = match self.meaning() {
            Some(Meaning::Null) => return Err(self.unlike("a value", None)),
            Some(Meaning::Bool(value)) => visitor.visit_bool(value),
            Some(Meaning::Unsigned(number)) => visitor.visit_u64(number),
            Some(Meaning::Signed(number)) => visitor.visit_i64(number),
            Some(Meaning::Float(number)) => visitor.visit_f64(number),
            Some(Meaning::Text(text)) => visitor.visit_str(text),
            None if self.node.as_list().is_some() => return self.deserialize_seq(visitor),
            None => return self.deserialize_map(visitor),
        };
        read.map_err(|error| self.settle(error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let hint = match self.meaning() {
            Some(Meaning::Bool(value)) => {
                return visitor.visit_bool(value).map_err(|error| self.settle(error));
            }
            Some(Meaning::Text(text)) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" => Some("write `true`".to_owned()),
                "no" | "off" | "n" => Some("write `false`".to_owned()),
                word @ ("true" | "false") => Some(format!("remove the quotes: `{word}`")),
                _ => None,
            },
            Some(Meaning::Unsigned(1)) => Some("write `true`".to_owned()),
            Some(Meaning::Unsigned(0)) => Some("write `false`".to_owned()),
            _ => None,
        };
        Err(self.unlike("`true` or `false`", hint))
    }

    whole_numbers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let read = match self.meaning() {
            Some(Meaning::Float(number)) => visitor.visit_f64(number),
            Some(Meaning::Unsigned(number)) => visitor.visit_u64(number),
            Some(Meaning::Signed(number)) => visitor.visit_i64(number),
            _ => return Err(self.unlike("a number", None)),
        };
        read.map_err(|error| self.settle(error))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.text("text")?;
        visitor.visit_str(text).map_err(|error| self.settle(error))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    /// A key that is there has a value: `key:` with nothing after it is nearly always a mistake.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.meaning() {
            Some(Meaning::Null) => visitor.visit_unit().map_err(|error| self.settle(error)),
            _ => Err(self.unlike("nothing", None)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name != AS_WRITTEN {
            return visitor.visit_newtype_struct(self).map_err(|error| self.settle(error));
        }
        match (self.meaning(), self.node.as_text()) {
            (Some(Meaning::Null), _) | (_, None) => Err(self.unlike("text", None)),
            (_, Some(text)) => visitor.visit_str(text).map_err(|error| self.settle(error)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(items) = self.node.as_list() else {
            let hint = self.node.as_text().map(|text| format!("write `[{text}]`"));
            return Err(self.unlike("a list", hint));
        };
        let items = Items::of(&self, items);
        visitor.visit_seq(items).map_err(|error| self.settle(error))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let entries = Entries::of(&self)?;
        visitor.visit_map(entries).map_err(|error| self.settle(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.node.as_map().is_none() {
            let keys = suggest::list(fields);
            let hint =
                (self.meaning() != Some(Meaning::Null)).then(|| format!("keys here: {keys}"));
            return Err(self.unlike("a map", hint));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let one_of = || Some(format!("exactly one of {}", suggest::list(variants)));
        let choice = match &self.node.value {
            Value::Scalar(_) => Choice::of(&self, self.text("text")?, None),
            Value::Map(entries) if entries.len() == 1 => {
                let entry = &entries[0];
                if self.is_left_out(&entry.value) {
                    return Err(ReadError::consequence().or_at(|| self.at()));
                }
                Choice::of(&self, &entry.key.text, Some(entry))
            }
            Value::Map(entries) => {
                let message = format!("one key is expected here, found {}", entries.len());
                return Err(ReadError::new(message, one_of()).or_at(|| self.at()));
            }
            Value::List(_) => return Err(self.unlike("one value", one_of())),
        };
        visitor.visit_enum(choice).map_err(|error| self.settle(error))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

/// The digits of a number written with zeros in front.
fn without_zeros(text: &str) -> Option<&str> {
    let digits = text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text.strip_prefix('0').filter(|_| digits)?.trim_start_matches('0');
    Some(if plain.is_empty() { "0" } else { plain })
}
