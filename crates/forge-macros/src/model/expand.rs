//! What a model becomes.

use heck::ToShoutySnakeCase;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemStruct, LitStr, Type};

use super::read::{Column, Model};
use crate::attrs::{derive, docs};
use crate::names::{plain, quote_identifier};
use crate::spans::at;
use crate::types::is_named;
use crate::wire_type::{NamedType, struct_shape};

/// The struct, its wire form, its row form, its table, its column tokens and its registration.
pub(super) fn expand(item: &ItemStruct, model: &Model, sound: bool) -> TokenStream {
    let ident = &item.ident;
    let mut item = item.clone();
    derive(&mut item.attrs, &[quote!(Debug), quote!(Clone)], &TokenStream::new());
    for (field, column) in item.fields.iter_mut().zip(&model.columns) {
        let serde = if column.private { private_serde(&column.wire.ty) } else { column.wire.serde_attr() };
        field.attrs.push(syn::parse_quote!(#serde));
    }
    let wire = wire_form(&item, model);
    let row = row_form(&item, model);
    let table = table_form(&item, model);
    let tokens = column_tokens(&item, model);
    let registration = sound.then(|| {
        quote! {
            ::forge::__rt::inventory::submit! {
                ::forge::__rt::Registration::model::<#ident>(::core::env!("CARGO_PKG_NAME"))
            }
        }
    });
    quote! {
        #item
        #table
        #wire
        #row
        #tokens
        #registration
    }
}

/// What serde is to know of a private field. The default is named at the type's place, for the case that it has none.
fn private_serde(ty: &Type) -> TokenStream {
    let default = LitStr::new("::forge::__rt::wire::private_default", ty.span());
    quote!(#[serde(skip, default = #default)])
}

fn wire_form(item: &ItemStruct, model: &Model) -> TokenStream {
    let shown = || model.columns.iter().filter(|column| !column.private);
    let checks = shown().map(|column| {
        let field = &column.wire.ident;
        column.wire.check(&quote!(&self.#field))
    });
    let doc = docs(&item.attrs);
    NamedType {
        ident: &item.ident,
        doc: &doc,
        object: false,
        shape: struct_shape(shown().map(|column| column.wire.definition())),
        validate: quote!(#(#checks)*),
    }
    .implement()
}

fn row_form(item: &ItemStruct, model: &Model) -> TokenStream {
    let names = model.columns.iter().map(|column| column.name.as_str());
    let fields = model.columns.iter().map(|column| (&column.wire.ident, &column.wire.ty));
    crate::from_row::implement(&item.ident, names, fields)
}

fn table_form(item: &ItemStruct, model: &Model) -> TokenStream {
    let ident = &item.ident;
    let rust = plain(ident);
    let quoted = match &model.schema {
        Some(schema) => format!("{}.{}", quote_identifier(schema), quote_identifier(&model.table)),
        None => quote_identifier(&model.table),
    };
    let id = &model.columns[model.id];
    let (id_ty, id_name) = (&id.wire.ty, &id.name);
    let updated_at = model.columns.iter().filter(|column| column.updated_at).map(|column| &column.name);
    let private = model.columns.iter().filter(|column| column.private).map(|column| &column.name);
    let values = model.columns.iter().map(|column| {
        let field = &column.wire.ident;
        quote_spanned!(at(&column.wire.ty)=> ::std::boxed::Box::new(self.#field) as ::forge::__rt::db::Value)
    });
    let new_id = if is_named(id_ty, "Uuid") {
        quote!(::core::option::Option::Some(::std::boxed::Box::new(::forge::__rt::db::new_uuid())))
    } else {
        quote!(::core::option::Option::None)
    };
    let definition = definition(&rust, model);
    quote! {
        #[automatically_derived]
        impl ::forge::__rt::db::Model for #ident {
            const TABLE: &'static str = #quoted;
            type Id = #id_ty;
            const ID_COLUMN: &'static str = #id_name;
            const UPDATED_AT: &'static [&'static str] = &[#(#updated_at),*];
            const PRIVATE: &'static [&'static str] = &[#(#private),*];

            fn definition() -> ::forge::__rt::schema::TableDef {
                #definition
            }

            fn new_id() -> ::core::option::Option<::forge::__rt::db::Value> {
                #new_id
            }

            fn into_values(self) -> ::std::vec::Vec<::forge::__rt::db::Value> {
                ::std::vec![#(#values),*]
            }
        }
    }
}

fn definition(rust: &str, model: &Model) -> TokenStream {
    let table = &model.table;
    let schema = text_option(model.schema.as_deref());
    let columns = model.columns.iter().enumerate().map(|(index, column)| column_definition(column, index == model.id));
    let indexes = model.indexes.iter().map(|index| {
        let (name, columns) = (&index.name, &index.columns);
        quote! {
            ::forge::__rt::schema::IndexDef {
                name: ::std::string::String::from(#name),
                columns: ::std::vec![#(::std::string::String::from(#columns)),*],
            }
        }
    });
    quote! {
        ::forge::__rt::schema::TableDef {
            name: ::std::string::String::from(#table),
            schema: #schema,
            model: ::std::string::String::from(#rust),
            columns: ::std::vec![#(#columns),*],
            indexes: ::std::vec![#(#indexes),*],
        }
    }
}

fn column_definition(column: &Column, primary_key: bool) -> TokenStream {
    let Column { name, unique, updated_at, private, .. } = column;
    let ty: &Type = &column.wire.ty;
    let column_type = quote_spanned!(at(&ty)=> <#ty as ::forge::__rt::schema::ColumnType>);
    let sql_type = match column.max_length {
        Some(length) => quote!(::forge::__rt::schema::SqlType::Varchar { length: #length }),
        None => quote!(#column_type::sql_type()),
    };
    let default = text_option(column.default.as_deref());
    quote! {
        ::forge::__rt::schema::ColumnDef {
            name: ::std::string::String::from(#name),
            sql_type: #sql_type,
            nullable: #column_type::NULLABLE,
            primary_key: #primary_key,
            unique: #unique,
            default: #default,
            updated_at: #updated_at,
            private: #private,
        }
    }
}

fn text_option(text: Option<&str>) -> TokenStream {
    match text {
        Some(text) => quote!(::core::option::Option::Some(::std::string::String::from(#text))),
        None => quote!(::core::option::Option::None),
    }
}

/// `Card::TITLE` and so on.
fn column_tokens(item: &ItemStruct, model: &Model) -> TokenStream {
    let ident = &item.ident;
    let tokens = item.fields.iter().zip(&model.columns).enumerate().map(|(index, (field, column))| {
        let (vis, ty, name) = (&field.vis, &column.wire.ty, &column.name);
        let field = plain(&column.wire.ident);
        let token = format_ident!("{}", field.to_shouty_snake_case(), span = column.wire.ident.span());
        let doc = format!("The column of [`{field}`](Self::{field}).");
        let new = quote_spanned!(at(ty)=> ::forge::__rt::db::Column::new(#name));
        let key = if column.unique || index == model.id { quote!(Unique) } else { quote!(Plain) };
        quote! {
            #[doc = #doc]
            #vis const #token: ::forge::__rt::db::Column<#ident, #ty, ::forge::__rt::db::#key> = #new;
        }
    });
    quote! {
        #[allow(dead_code)]
        impl #ident {
            #(#tokens)*
        }
    }
}
