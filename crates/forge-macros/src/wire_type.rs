//! The implementation of `WireType` for a named type, once for all macros that write one.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::names::plain;

/// What differs between the types.
pub(crate) struct NamedType<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) doc: &'a str,
    /// Whether a function's only parameter of this type is the arguments' object.
    pub(crate) object: bool,
    /// An expression of type `TypeShape`, with `types` in scope.
    pub(crate) shape: TokenStream,
    /// Statements that check `self`, with `violations` in scope.
    pub(crate) validate: TokenStream,
}

impl NamedType<'_> {
    /// Refers to the type by name, defining it when it is met first: an expression, with `types` in scope.
    pub(crate) fn reference(&self) -> TokenStream {
        let Self { doc, shape, .. } = self;
        let name = plain(self.ident);
        quote! {
            types.named(#name, ::core::concat!(::core::module_path!(), "::", #name), |types| {
                (::std::string::String::from(#doc), #shape)
            })
        }
    }

    /// The implementation for a type that is written and read by its own serde derives.
    pub(crate) fn implement(&self) -> TokenStream {
        let reference = self.reference();
        self.implement_with(
            &reference,
            &quote!(::forge::__rt::serde::Serialize::serialize(self, serializer)),
            &quote!(<Self as ::forge::__rt::serde::Deserialize<'de>>::deserialize(deserializer)),
        )
    }

    /// The implementation with other ways of describing, writing and reading.
    pub(crate) fn implement_with(&self, wire_type: &TokenStream, write: &TokenStream, read: &TokenStream) -> TokenStream {
        let Self { ident, object, validate, .. } = self;
        quote! {
            #[automatically_derived]
            #[allow(unused_variables, clippy::all)]
            impl ::forge::__rt::wire::WireType for #ident {
                const OBJECT: bool = #object;

                fn wire_type(types: &mut ::forge::__rt::wire::TypeRegistry) -> ::forge::__rt::wire::TypeRef {
                    #wire_type
                }

                fn wire_serialize<__S: ::forge::__rt::serde::Serializer>(
                    &self,
                    serializer: __S,
                ) -> ::core::result::Result<__S::Ok, __S::Error> {
                    #write
                }

                fn wire_deserialize<'de, __D: ::forge::__rt::serde::Deserializer<'de>>(
                    deserializer: __D,
                ) -> ::core::result::Result<Self, __D::Error> {
                    #read
                }

                fn validate(&self, violations: &mut ::forge::__rt::validate::Violations) {
                    #validate
                }
            }
        }
    }
}

/// The shape of an object with these field definitions.
pub(crate) fn struct_shape(fields: impl IntoIterator<Item = TokenStream>) -> TokenStream {
    let fields = fields.into_iter();
    quote!(::forge::__rt::wire::TypeShape::Struct { fields: ::std::vec![#(#fields),*] })
}

/// The definition of a variant.
pub(crate) fn variant_def(name: &str, doc: &str, fields: impl IntoIterator<Item = TokenStream>) -> TokenStream {
    let fields = fields.into_iter();
    quote! {
        ::forge::__rt::wire::VariantDef {
            name: ::std::string::String::from(#name),
            doc: ::std::string::String::from(#doc),
            fields: ::std::vec![#(#fields),*],
        }
    }
}
