//! The wire form of the types that an app does not define itself.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AsWire, FromWire, TypeRef, TypeRegistry, WireType};
use crate::validate::Violations;

/// Types whose serde form is their wire form.
macro_rules! as_serde {
    ($($ty:ty => $kind:ident),* $(,)?) => {$(
        impl WireType for $ty {
            fn wire_type(_: &mut TypeRegistry) -> TypeRef {
                TypeRef::$kind
            }
            fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Serialize::serialize(self, serializer)
            }
            fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <Self as Deserialize>::deserialize(deserializer)
            }
        }
    )*};
}

as_serde! {
    String => String,
    bool => Bool,
    i8 => Int32,
    i16 => Int32,
    i32 => Int32,
    u16 => Int32,
    u32 => Int32,
    uuid::Uuid => Uuid,
    jiff::Timestamp => Timestamp,
    jiff::civil::Date => Date,
    jiff::civil::Time => Time,
    rust_decimal::Decimal => Decimal,
    serde_json::Value => Json,
    () => Null,
}

/// 64-bit integers are written as strings; a number is read as well, so that people can write one by hand.
macro_rules! as_digits {
    ($($ty:ty),*) => {$(
        impl WireType for $ty {
            fn wire_type(_: &mut TypeRegistry) -> TypeRef {
                TypeRef::Int64
            }
            fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
            fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Digits::<$ty>(PhantomData))
            }
        }
        impl Visitor<'_> for Digits<$ty> {
            type Value = $ty;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!("a string of digits (", stringify!($ty), ")"))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$ty, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<$ty, E> {
                n.try_into().map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(n), &self))
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<$ty, E> {
                n.try_into().map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(n), &self))
            }
        }
    )*};
}

struct Digits<T>(PhantomData<T>);

as_digits!(i64, u64, isize, usize);

/// Floating-point numbers that JSON cannot say are refused instead of becoming `null`.
macro_rules! as_finite {
    ($($ty:ty),*) => {$(
        impl WireType for $ty {
            fn wire_type(_: &mut TypeRegistry) -> TypeRef {
                TypeRef::Float
            }
            fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if !self.is_finite() {
                    return Err(S::Error::custom(format!("{self} is not a number that JSON can say")));
                }
                self.serialize(serializer)
            }
            fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        }
    )*};
}

as_finite!(f32, f64);

impl WireType for Vec<u8> {
    fn wire_type(_: &mut TypeRegistry) -> TypeRef {
        TypeRef::Bytes
    }
    fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self))
    }
    fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(&text).map_err(|why| D::Error::custom(format!("not base64: {why}")))
    }
}

impl<T: WireType> WireType for Vec<T> {
    fn wire_type(types: &mut TypeRegistry) -> TypeRef {
        TypeRef::List { of: Box::new(T::wire_type(types)) }
    }
    fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(AsWire))
    }
    fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<FromWire<T>>::deserialize(deserializer)?;
        Ok(items.into_iter().map(|item| item.0).collect())
    }
    fn validate(&self, violations: &mut Violations) {
        for (index, item) in self.iter().enumerate() {
            violations.within(index, |inner| item.validate(inner));
        }
    }
}

impl<T: WireType> WireType for Option<T> {
    fn wire_type(types: &mut TypeRegistry) -> TypeRef {
        TypeRef::Option { of: Box::new(T::wire_type(types)) }
    }
    fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => serializer.serialize_some(&AsWire(value)),
            None => serializer.serialize_none(),
        }
    }
    fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<FromWire<T>>::deserialize(deserializer)?.map(|value| value.0))
    }
    fn validate(&self, violations: &mut Violations) {
        if let Some(value) = self {
            value.validate(violations);
        }
    }
}

/// Pointers look like what they point to.
macro_rules! as_inner {
    ($($ty:ident),*) => {$(
        impl<T: WireType> WireType for $ty<T> {
            const OBJECT: bool = T::OBJECT;
            fn wire_type(types: &mut TypeRegistry) -> TypeRef {
                T::wire_type(types)
            }
            fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                (**self).wire_serialize(serializer)
            }
            fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                T::wire_deserialize(deserializer).map($ty::new)
            }
            fn validate(&self, violations: &mut Violations) {
                (**self).validate(violations);
            }
        }
    )*};
}

as_inner!(Box, Arc);

/// Maps with text keys are objects.
macro_rules! as_object {
    ($($ty:ident),*) => {$(
        impl<T: WireType> WireType for $ty<String, T> {
            fn wire_type(types: &mut TypeRegistry) -> TypeRef {
                TypeRef::Map { of: Box::new(T::wire_type(types)) }
            }
            fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.iter().map(|(key, value)| (key, AsWire(value))))
            }
            fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let entries = $ty::<String, FromWire<T>>::deserialize(deserializer)?;
                Ok(entries.into_iter().map(|(key, value)| (key, value.0)).collect())
            }
            fn validate(&self, violations: &mut Violations) {
                for (key, value) in self {
                    violations.within(key, |inner| value.validate(inner));
                }
            }
        }
    )*};
}

as_object!(HashMap, BTreeMap);

/// Tuples are arrays of fixed length.
macro_rules! as_tuple {
    ($len:literal: $($ty:ident $index:tt),*) => {
        impl<$($ty: WireType),*> WireType for ($($ty,)*) {
            fn wire_type(types: &mut TypeRegistry) -> TypeRef {
                TypeRef::Tuple { of: vec![$($ty::wire_type(types)),*] }
            }
            fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut tuple = serializer.serialize_tuple($len)?;
                $(tuple.serialize_element(&AsWire(&self.$index))?;)*
                tuple.end()
            }
            fn wire_deserialize<'de, De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
                struct Items<$($ty),*>(PhantomData<($($ty,)*)>);
                impl<'de, $($ty: WireType),*> Visitor<'de> for Items<$($ty),*> {
                    type Value = ($($ty,)*);
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an array of ", $len, " items"))
                    }
                    fn visit_seq<Se: SeqAccess<'de>>(self, mut seq: Se) -> Result<Self::Value, Se::Error> {
                        Ok(($(
                            seq.next_element::<FromWire<$ty>>()?
                                .ok_or_else(|| Se::Error::invalid_length($index, &self))?
                                .0,
                        )*))
                    }
                }
                deserializer.deserialize_tuple($len, Items(PhantomData))
            }
            fn validate(&self, violations: &mut Violations) {
                $(violations.within($index, |inner| self.$index.validate(inner));)*
            }
        }
    };
}

as_tuple!(1: A 0);
as_tuple!(2: A 0, B 1);
as_tuple!(3: A 0, B 1, C 2);
as_tuple!(4: A 0, B 1, C 2, D 3);
as_tuple!(5: A 0, B 1, C 2, D 3, E 4);
as_tuple!(6: A 0, B 1, C 2, D 3, E 4, F 5);
