//! `sql!`: a statement whose arguments are captured by name and never spliced into the text.
//!
//! `sql!(Card, "SELECT * FROM cards WHERE column_id = {column_id}")` becomes a static with the text
//! `.. column_id = $1`, an entry in the list of all statements (which `forge check` tries on a database), and a value
//! that borrows `column_id`.

mod text;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::{LitStr, Token, Type};

use crate::mistakes::Mistakes;
use crate::spans::at;
use text::{Capture, Statement};

struct Call {
    /// The type of the rows; none when the statement is only executed.
    row: Option<Type>,
    text: LitStr,
}

const SHAPE: &str = "write `sql!(Row, \"SELECT .. WHERE id = {id}\")`, or `sql!(\"UPDATE ..\")` when no rows are wanted";

impl Parse for Call {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Err(syn::Error::new(Span::call_site(), SHAPE));
        }
        let row = if input.peek(LitStr) {
            None
        } else {
            let row = input.parse::<Type>().map_err(|error| {
                syn::Error::new(error.span(), format!("the type of the rows is expected here: {SHAPE}"))
            })?;
            input.parse::<Token![,]>().map_err(|error| {
                syn::Error::new(error.span(), format!("after the type of the rows comes the statement: {SHAPE}"))
            })?;
            Some(row)
        };
        let text = input.parse::<LitStr>().map_err(|error| {
            syn::Error::new(error.span(), "the statement is one string literal, so that it can be checked before it runs; for text made at run time there is `ctx.db().query_dyn(..)`")
        })?;
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
        }
        if !input.is_empty() {
            return Err(
                input.error("nothing may follow the statement: arguments are captured by name, as in `WHERE id = {id}`")
            );
        }
        Ok(Self { row, text })
    }
}

/// The macro.
pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let call: Call = match syn::parse2(input) {
        Ok(call) => call,
        Err(error) => return error.to_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    let statement = match text::read(&call.text.value()) {
        Ok(statement) => Some(statement),
        Err(found) => {
            for mistake in found {
                mistakes.add(&call.text, mistake);
            }
            None
        }
    };
    let arguments = statement.as_ref().map_or(Ok(Vec::new()), |statement| arguments(statement, &call.text));
    let arguments = arguments.unwrap_or_else(|error| {
        mistakes.add_error(error);
        Vec::new()
    });
    build(&call, statement.as_ref(), &arguments, mistakes)
}

/// A captured argument as tokens that mean what they would mean where the statement stands.
struct Argument {
    place: TokenStream,
    ty: Option<Type>,
}

fn arguments(statement: &Statement, text: &LitStr) -> syn::Result<Vec<Argument>> {
    let span = text.span();
    let wrong = |what: &str| syn::Error::new(span, format!("`{what}` cannot be read as Rust"));
    let read = |Capture { place, ty }: &Capture| {
        let tokens = |text: &str| text.parse::<TokenStream>().map_err(|_| wrong(text)).map(|tokens| respan(tokens, span));
        let ty = ty.as_deref().map(|ty| syn::parse2(tokens(ty)?)).transpose()?;
        Ok(Argument { place: tokens(place)?, ty })
    };
    statement.captures.iter().map(read).collect()
}

fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            if let proc_macro2::TokenTree::Group(group) = &token {
                let mut inner = proc_macro2::Group::new(group.delimiter(), respan(group.stream(), span));
                inner.set_span(span);
                return inner.into();
            }
            token.set_span(span);
            token
        })
        .collect()
}

fn build(call: &Call, statement: Option<&Statement>, arguments: &[Argument], mistakes: Mistakes) -> TokenStream {
    let span = at(&call.text);
    let row = match &call.row {
        Some(row) => quote!(#row),
        None => quote!(()),
    };
    let check = match &call.row {
        Some(row) => quote!(of::<#row>),
        None => quote!(execute),
    };
    // A statement with a mistake keeps its type, so that what is called on it is not reported as missing.
    let sound = mistakes.is_empty();
    let text = statement.map(|statement| statement.text.as_str()).unwrap_or_default();
    let captures = statement.into_iter().flat_map(|statement| &statement.captures);
    let params = captures.zip(arguments).map(|(capture, argument)| {
        let name = &capture.place;
        let (ty, accepts) = match (&capture.ty, &argument.ty) {
            (Some(text), Some(ty)) => (
                quote!(::core::option::Option::Some(#text)),
                quote_spanned!(span=> ::core::option::Option::Some(<#ty as ::forge::__rt::pg::ToSql>::accepts)),
            ),
            _ => (quote!(::core::option::Option::None), quote!(::core::option::Option::None)),
        };
        quote!(::forge::__rt::db::Param { name: #name, ty: #ty, accepts: #accepts })
    });
    let type_checks = arguments.iter().filter_map(|Argument { place, ty }| {
        let ty = ty.as_ref()?;
        Some(quote_spanned!(span=> let _: &#ty = &#place;))
    });
    let values = arguments.iter().map(
        |Argument { place, .. }| quote_spanned!(span=> &#place as &(dyn ::forge::__rt::pg::ToSql + ::core::marker::Sync)),
    );
    let registration = sound.then(|| {
        quote! {
            ::forge::__rt::inventory::submit! { ::forge::__rt::db::CheckedSql::#check(&__FORGE_STATEMENT) }
        }
    });
    let mistakes = mistakes.into_tokens();
    quote! {
        {
            #mistakes
            static __FORGE_STATEMENT: ::forge::__rt::db::Statement = ::forge::__rt::db::Statement::new(
                #text,
                ::core::file!(),
                ::core::line!(),
                &[#(#params),*],
            );
            #registration
            #(#type_checks)*
            ::forge::__rt::db::Sql::<'_, #row>::new(&__FORGE_STATEMENT, ::std::vec![#(#values),*])
        }
    }
}
