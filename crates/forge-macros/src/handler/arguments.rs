//! The type that stands for a function's parameters.

use heck::ToUpperCamelCase;
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{ItemFn, PathArguments, Type};

use super::signature::Signature;
use crate::attrs::derive;
use crate::names::plain;
use crate::spans::at;
use crate::types::{is_named, last_segment};
use crate::wire_field::WireField;
use crate::wire_type::{NamedType, struct_shape};

/// The forms that arguments take.
pub(crate) enum Arguments<'a> {
    /// There are none, and nobody has to name them.
    None,
    /// There are none; a generated struct without fields names the job.
    Empty(Ident),
    /// The only parameter is the arguments.
    Own(&'a WireField),
    /// A generated struct with a field per parameter.
    Generated(Ident, &'a [WireField]),
}

impl<'a> Arguments<'a> {
    /// The arguments of a query, a mutation or an action: the only parameter stands for all when it has the type that would be
    /// generated.
    pub(crate) fn of_function(function: &ItemFn, signature: &'a Signature) -> Self {
        match signature.parameters.as_slice() {
            [] => Self::None,
            [only] if is_named(&only.ty, &type_name(function)) => Self::Own(only),
            parameters => Self::Generated(type_ident(function), parameters),
        }
    }

    /// The input of a job, which names the job where it is dispatched, so there always is a type: the only parameter's own when that
    /// looks like a struct of the app.
    pub(crate) fn of_job(function: &ItemFn, signature: &'a Signature) -> Self {
        match signature.parameters.as_slice() {
            [] => Self::Empty(type_ident(function)),
            [only] if is_of_the_app(&only.ty) => Self::Own(only),
            parameters => Self::Generated(type_ident(function), parameters),
        }
    }

    pub(crate) fn ty(&self) -> TokenStream {
        match self {
            Self::None => quote!(()),
            Self::Empty(ident) => quote!(#ident),
            Self::Own(field) => {
                let ty = &field.ty;
                quote!(#ty)
            }
            Self::Generated(ident, _) => quote!(#ident),
        }
    }

    /// The parameters' values, from `args`.
    pub(crate) fn values(&self) -> Vec<TokenStream> {
        match self {
            Self::None | Self::Empty(_) => Vec::new(),
            Self::Own(field) => vec![quote_spanned!(at(&field.ty)=> args)],
            Self::Generated(_, fields) => fields
                .iter()
                .map(|field| {
                    let ident = &field.ident;
                    quote_spanned!(at(&field.ty)=> args.#ident)
                })
                .collect(),
        }
    }

    /// The generated type, or the proof that the parameter's own will do.
    pub(crate) fn definition(&self, function: &ItemFn) -> TokenStream {
        match self {
            Self::None => TokenStream::new(),
            Self::Empty(ident) => empty(function, ident),
            Self::Own(field) => assert_object(&field.ty, &function.sig.ident),
            Self::Generated(ident, [only]) => generate(function, ident, std::slice::from_ref(only), single(ident, only)),
            Self::Generated(ident, fields) => generate(function, ident, fields, several(ident, fields)),
        }
    }
}

/// A type that stands for all arguments must be an object on the wire.
fn assert_object(ty: &Type, function: &Ident) -> TokenStream {
    let message = format!(
        "the only parameter of `{function}` stands for all of its arguments, so it must be a `#[forge::input]` struct or enum with named fields"
    );
    quote_spanned!(at(&ty)=> const _: () = ::core::assert!(<#ty as ::forge::__rt::wire::WireType>::OBJECT, #message);)
}

fn type_name(function: &ItemFn) -> String {
    plain(&function.sig.ident).to_upper_camel_case()
}

fn type_ident(function: &ItemFn) -> Ident {
    Ident::new(&type_name(function), function.sig.ident.span())
}

/// Types without parameters of their own that are not an app's, and are values rather than structs.
const VALUES: &[&str] = &[
    "bool",
    "char",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "isize",
    "f32",
    "f64",
    "String",
    "Uuid",
    "Timestamp",
    "Date",
    "Time",
    "Decimal",
    "Value",
    "Secret",
];

/// Whether the type looks like a struct of the app: a path without parameters that does not end in a well-known name.
fn is_of_the_app(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|last| {
        matches!(last.arguments, PathArguments::None) && !VALUES.iter().any(|value| last.ident == value)
    })
}

/// No parameters: an object without fields.
fn empty(function: &ItemFn, ident: &Ident) -> TokenStream {
    let vis = &function.vis;
    let doc = format!("The input of [`{0}`]({0}), which takes none.", function.sig.ident);
    let named = NamedType { ident, doc: "", object: true, shape: TokenStream::new(), validate: TokenStream::new() };
    let implementation = named.implement_with(
        &quote!(::forge::__rt::wire::TypeRef::Null),
        &quote!(::forge::__rt::wire::empty::serialize(serializer)),
        &quote!(::forge::__rt::wire::empty::deserialize(deserializer).map(|()| Self)),
    );
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone, Copy)]
        #[allow(dead_code)]
        #vis struct #ident;

        #implementation
    }
}

fn generate(function: &ItemFn, ident: &Ident, fields: &[WireField], wire: (TokenStream, TokenStream)) -> TokenStream {
    let (attrs, implementation) = wire;
    let vis = &function.vis;
    let doc = format!("The arguments of [`{0}`]({0}).", function.sig.ident);
    let with_serde = fields.len() > 1;
    let members = fields.iter().map(|field| {
        let WireField { ident, ty, doc, .. } = field;
        let doc = if doc.is_empty() { format!("The argument `{}`.", plain(ident)) } else { doc.clone() };
        let serde = with_serde.then(|| field.serde_attr());
        quote!(#[doc = #doc] #serde #vis #ident: #ty)
    });
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let names: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let bare = match types.as_slice() {
        [only] => quote!(#only),
        several => quote!((#(#several),*)),
    };
    let unpack = match names.as_slice() {
        [only] => quote!(#only),
        several => quote!((#(#several),*)),
    };
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone)]
        #[allow(dead_code)]
        #attrs
        #vis struct #ident { #(#members),* }

        #implementation

        #[automatically_derived]
        impl ::core::convert::From<#bare> for #ident {
            fn from(#unpack: #bare) -> Self {
                Self { #(#names),* }
            }
        }
    }
}

/// One parameter: an object with one field, or the parameter itself when that is an object already.
fn single(ident: &Ident, field: &WireField) -> (TokenStream, TokenStream) {
    let WireField { ident: member, ty, name, .. } = field;
    let named = NamedType {
        ident,
        doc: "",
        object: true,
        shape: struct_shape([field.definition()]),
        validate: {
            let below = field.check(&quote!(&self.#member));
            let here = crate::wire_field::check_here(ty, &field.rules, &quote!(&self.#member));
            quote!(if <#ty as ::forge::__rt::wire::WireType>::OBJECT { #here } else { #below })
        },
    };
    let reference = named.reference();
    let own = crate::wire_field::wire_type(ty);
    let implementation = named.implement_with(
        &quote!(if <#ty as ::forge::__rt::wire::WireType>::OBJECT { #own } else { #reference }),
        &quote_spanned!(at(ty)=> ::forge::__rt::wire::single::serialize::<#ty, __S>(#name, &self.#member, serializer)),
        &quote_spanned! {at(ty)=>
            let value = ::forge::__rt::wire::single::deserialize::<#ty, __D>(#name, deserializer)?;
            ::core::result::Result::Ok(Self { #member: value })
        },
    );
    (TokenStream::new(), implementation)
}

/// Several parameters: an object with a field for each.
fn several(ident: &Ident, fields: &[WireField]) -> (TokenStream, TokenStream) {
    let mut attrs = Vec::new();
    derive(&mut attrs, &[], &quote!(, deny_unknown_fields));
    let attrs = quote!(#(#attrs)*);
    let checks = fields.iter().map(|field| {
        let member = &field.ident;
        field.check(&quote!(&self.#member))
    });
    let named = NamedType {
        ident,
        doc: "",
        object: true,
        shape: struct_shape(fields.iter().map(WireField::definition)),
        validate: quote!(#(#checks)*),
    };
    (attrs, named.implement())
}
