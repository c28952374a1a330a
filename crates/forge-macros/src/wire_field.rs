//! A field of something that crosses the wire: an argument, a field of an input, of a variant or of a model.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, LitStr, Meta, Type};

use crate::attrs::docs;
use crate::keys::parse_list;
use crate::mistakes::Mistakes;
use crate::names::wire_name;
use crate::rules::{self, Rule};
use crate::spans::at;
use crate::types::{option_content, string_literal};

/// A field, as the wire sees it.
#[derive(Clone)]
pub(crate) struct WireField {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) doc: String,
    /// Its name on the wire.
    pub(crate) name: String,
    /// Whether `#[serde(default)]` lets it be left out; an `Option` may be left out anyway.
    pub(crate) default: bool,
    pub(crate) rules: Vec<Rule>,
}

impl WireField {
    /// Reads a field and takes the attributes that are about the wire.
    pub(crate) fn take(attrs: &mut Vec<Attribute>, ident: &Ident, ty: &Type, mistakes: &mut Mistakes) -> Self {
        let serde = SerdeKeys::take(attrs, true, mistakes);
        Self {
            ident: ident.clone(),
            ty: ty.clone(),
            doc: docs(attrs),
            name: serde.rename.map_or_else(|| wire_name(ident), |name| name.value()),
            default: serde.default,
            rules: rules::take(attrs, ty, mistakes),
        }
    }

    fn optional(&self) -> bool {
        self.default || option_content(&self.ty).is_some()
    }

    /// The attribute that makes serde write and read the field in its wire form.
    pub(crate) fn serde_attr(&self) -> TokenStream {
        let name = &self.name;
        let with = serde_with(&self.ty);
        let default = self.optional().then(|| quote!(, default));
        quote!(#[serde(rename = #name, #with #default)])
    }

    /// For the manifest.
    pub(crate) fn definition(&self) -> TokenStream {
        let Self { name, ty, doc, .. } = self;
        let optional = self.optional();
        let rules = self.rules.iter().map(Rule::definition);
        let wire_type = wire_type(ty);
        quote! {
            ::forge::__rt::wire::FieldDef {
                name: ::std::string::String::from(#name),
                ty: #wire_type,
                doc: ::std::string::String::from(#doc),
                optional: #optional,
                rules: ::std::vec![#(#rules),*],
            }
        }
    }

    /// Statements that check the field below its name; `place` is an expression for a reference to it.
    pub(crate) fn check(&self, place: &TokenStream) -> TokenStream {
        let name = &self.name;
        let check = check_here(&self.ty, &self.rules, place);
        quote!(violations.within(#name, |violations| { #check });)
    }
}

/// The keys that make serde write and read a value in its wire form. The functions are named as those of the type, at the
/// type's place: one that cannot cross the wire is then reported once, where it stands.
pub(crate) fn serde_with(ty: &Type) -> TokenStream {
    let place = ty.span();
    let text = ty.to_token_stream().to_string();
    // These two would not mean the same inside of a string.
    if text.contains("Self") || text.contains("$crate") {
        let with = LitStr::new("::forge::__rt::wire::field", place);
        return quote!(with = #with);
    }
    let function = |name: &str| LitStr::new(&format!("<{text} as ::forge::__rt::wire::WireType>::{name}"), place);
    let (write, read) = (function("wire_serialize"), function("wire_deserialize"));
    quote!(serialize_with = #write, deserialize_with = #read)
}

/// The expression for a type's own description.
pub(crate) fn wire_type(ty: &Type) -> TokenStream {
    quote_spanned!(at(&ty)=> <#ty as ::forge::__rt::wire::WireType>::wire_type(types))
}

/// Statements that check a value and all below it, at the path where `violations` stands.
pub(crate) fn check_here(ty: &Type, rules: &[Rule], place: &TokenStream) -> TokenStream {
    let checks: Vec<_> = rules
        .iter()
        .map(|rule| {
            let check = rule.check();
            quote!({ #check })
        })
        .collect();
    let own = if checks.is_empty() {
        TokenStream::new()
    } else if option_content(ty).is_some() {
        quote!(if let ::core::option::Option::Some(value) = #place { #(#checks)* })
    } else {
        quote!({ let value = #place; #(#checks)* })
    };
    let below = quote_spanned!(at(&ty)=> <#ty as ::forge::__rt::wire::WireType>::validate(#place, violations););
    quote!(#own #below)
}

/// Refuses two fields of one name: one of them could never be sent.
pub(crate) fn refuse_clashes<'a>(fields: impl IntoIterator<Item = &'a WireField>, mistakes: &mut Mistakes) {
    let mut seen = Vec::new();
    for field in fields {
        if field.name.is_empty() {
            mistakes.add(
                &field.ident,
                "the name of this field on the wire would be empty: give one with `#[serde(rename = \"..\")]`",
            );
        } else if seen.contains(&&field.name) {
            mistakes.add(
                &field.ident,
                format!(
                    "two fields are called `{}` on the wire: give one another name with `#[serde(rename = \"..\")]`",
                    field.name
                ),
            );
        }
        seen.push(&field.name);
    }
}

/// The few serde attributes that generated clients can know about.
#[derive(Default)]
pub(crate) struct SerdeKeys {
    pub(crate) rename: Option<LitStr>,
    pub(crate) default: bool,
}

impl SerdeKeys {
    /// Takes the `#[serde(..)]` attributes.
    pub(crate) fn take(attrs: &mut Vec<Attribute>, may_default: bool, mistakes: &mut Mistakes) -> Self {
        let mut keys = Self::default();
        attrs.retain(|attr| {
            if !attr.path().is_ident("serde") {
                return true;
            }
            let Meta::List(list) = &attr.meta else {
                mistakes.add(attr, "write it like `#[serde(rename = \"name\")]`");
                return false;
            };
            for meta in parse_list(list.tokens.clone(), mistakes) {
                keys.add(&meta, may_default, mistakes);
            }
            false
        });
        keys
    }

    fn add(&mut self, meta: &Meta, may_default: bool, mistakes: &mut Mistakes) {
        match meta {
            Meta::NameValue(pair) if pair.path.is_ident("rename") => match string_literal(&pair.value) {
                Some(text) if self.rename.is_none() => self.rename = Some(text.clone()),
                Some(_) => mistakes.add(meta, "`rename` is given twice"),
                None => mistakes.add(meta, "`rename` takes a text: write `#[serde(rename = \"name\")]`"),
            },
            Meta::Path(path) if path.is_ident("default") && may_default => self.default = true,
            other => {
                let written = other.path().to_token_stream().to_string();
                let known = if may_default { "`rename = \"name\"` and `default`" } else { "`rename = \"name\"`" };
                mistakes.add(
                    other,
                    format!("`serde({written})` is not supported here, because generated clients would not know about it; what works is {known}"),
                );
            }
        }
    }
}
