//! `#[derive(FromRow)]`: a struct that receives rows of a `sql!` statement.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Fields, LitStr, Type};

use crate::attrs::{refuse_cfg, refuse_generics};
use crate::keys::Grammar;
use crate::mistakes::Mistakes;
use crate::names::{identifier_mistake, plain};
use crate::spans::at;

const ON_FIELD: Grammar = Grammar { attribute: "a field of a row", accepted: &["column"], planned: &[] };

/// The macro.
pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let mut item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => return error.to_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    refuse_generics(&item.generics, "a row", &mut mistakes);
    let mut columns: Vec<(String, Ident, Type)> = Vec::new();
    match &mut item.data {
        Data::Struct(data) if matches!(data.fields, Fields::Named(_)) => {
            for field in data.fields.iter_mut() {
                let Some(ident) = field.ident.clone() else { continue };
                let name = column_name(&mut field.attrs, &ident, &mut mistakes);
                if columns.iter().any(|(known, ..)| *known == name) {
                    mistakes.add(&ident, format!("two fields are read from the column `{name}`"));
                }
                columns.push((name, ident, field.ty.clone()));
            }
        }
        _ => mistakes.add(
            &item.ident,
            "`FromRow` is derived for a struct with named fields, one for each column; for a few bare columns a tuple does: `sql!((i64, String), \"..\")`",
        ),
    }
    if columns.is_empty() && mistakes.is_empty() {
        mistakes.add(&item.ident, "a row has at least one column");
    }
    if !mistakes.is_empty() {
        return mistakes.into_tokens();
    }
    implement(&item.ident, columns.iter().map(|(name, ..)| name.as_str()), columns.iter().map(|(_, ident, ty)| (ident, ty)))
}

fn column_name(attrs: &mut Vec<syn::Attribute>, ident: &Ident, mistakes: &mut Mistakes) -> String {
    refuse_cfg(attrs, "a column", "write two types instead", mistakes);
    let mut keys = ON_FIELD.read_helpers(attrs, mistakes);
    let name: Option<LitStr> = keys.text("column", "column_name", mistakes);
    if let Some(name) = &name
        && let Some(why) = identifier_mistake(&name.value())
    {
        mistakes.add(name, why);
    }
    name.map_or_else(|| plain(ident), |name| name.value())
}

/// The implementation of `FromRow`, for models too.
pub(crate) fn implement<'a>(
    ident: &Ident,
    columns: impl Iterator<Item = &'a str>,
    fields: impl Iterator<Item = (&'a Ident, &'a Type)>,
) -> TokenStream {
    let columns: Vec<&str> = columns.collect();
    let fields: Vec<(&Ident, &Type)> = fields.collect();
    let expected = fields.iter().zip(&columns).map(|((field, ty), name)| {
        let field = plain(field);
        quote_spanned!(at(ty)=> ::forge::__rt::db::Field::named::<#ty>(#name, #field))
    });
    let reads = fields.iter().enumerate().map(|(position, (field, ty))| {
        let get = quote_spanned!(at(&ty)=> row.get::<#ty>(#position)?);
        quote!(#field: #get)
    });
    quote! {
        #[automatically_derived]
        impl ::forge::__rt::db::FromRow for #ident {
            const COLUMNS: &'static [&'static str] = &[#(#columns),*];

            fn fields() -> ::std::vec::Vec<::forge::__rt::db::Field> {
                ::std::vec![#(#expected),*]
            }

            fn from_row(row: &::forge::__rt::db::RowView<'_>) -> ::forge::__rt::Result<Self> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }
        }
    }
}
