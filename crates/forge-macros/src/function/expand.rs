//! What a function becomes.

use heck::ToUpperCamelCase;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{ItemFn, Type};

use super::Kind;
use super::keys::{Access, Cache, Options, Tracking};
use super::signature::Signature;
use crate::attrs::{derive, doc_attrs};
use crate::names::plain;
use crate::spans::at;
use crate::types::is_named;
use crate::wire_field::WireField;
use crate::wire_type::{NamedType, struct_shape};

/// The unit type, the arguments and the implementations. When something was wrong (`sound` is false), all names exist, so that
/// nothing else is reported as missing, but nothing is called.
pub(super) fn expand(
    kind: Kind,
    function: &ItemFn,
    signature: &Signature,
    options: &Options,
    doc: &str,
    sound: bool,
) -> TokenStream {
    let ident = &function.sig.ident;
    let vis = &function.vis;
    let docs = doc_attrs(&function.attrs);
    let deprecated = function.attrs.iter().filter(|attr| attr.path().is_ident("deprecated"));
    let undocumented = docs.is_empty().then(|| {
        let text = format!("The {} `{}`.", kind.word(), options.name);
        quote!(#[doc = #text])
    });

    let arguments = Arguments::of(function, signature);
    let definition = arguments.definition(function);
    let args = arguments.ty();
    let info = info(kind, options, doc);
    let output = &signature.output;
    let output = quote_spanned!(at(&output)=> <#output as ::forge::__rt::IntoResult>::Output);
    let context = format_ident!("{}", kind.context());
    let kind_trait = match kind {
        Kind::Query => quote!(ForgeQuery),
        Kind::Mutation => quote!(ForgeMutation),
        Kind::Action => quote!(ForgeAction),
    };
    let register = format_ident!("{}", kind.word());
    let body = if sound {
        let values = arguments.values();
        let call = quote_spanned!(at(&ident)=> #ident(ctx, #(#values),*).await);
        quote!(::forge::__rt::IntoResult::into_result(#call))
    } else {
        quote!(::core::unimplemented!())
    };
    let mut inner = function.clone();
    inner.attrs.retain(|attr| !attr.path().is_ident("doc") && !attr.path().is_ident("deprecated"));
    inner.vis = syn::Visibility::Inherited;
    let registration = (sound && options.register).then(|| {
        quote! {
            ::forge::__rt::inventory::submit! {
                <#ident as ::forge::__rt::Registered>::REGISTRATION
            }
        }
    });
    let unused = (!sound).then(|| quote!(#[allow(dead_code, unused_variables)]));
    let boxed = quote_spanned!(at(&ident)=> ::std::boxed::Box::pin(async move { #body }));

    quote! {
        #(#docs)*
        #undocumented
        #(#deprecated)*
        #[derive(Debug, Clone, Copy)]
        #[allow(non_camel_case_types, dead_code)]
        #vis struct #ident;

        #definition

        #[allow(deprecated)]
        const _: () = {
            // What we ask for: an `async fn` with owned arguments.
            #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
            #unused
            #inner

            #[automatically_derived]
            impl ::forge::__rt::Function for #ident {
                type Args = #args;
                type Output = #output;
                const INFO: ::forge::__rt::FunctionInfo = #info;
            }

            #[automatically_derived]
            impl ::forge::__rt::#kind_trait<::forge::__rt::#context> for #ident {
                #[allow(unused_variables)]
                fn execute(
                    ctx: &::forge::__rt::#context,
                    args: <Self as ::forge::__rt::Function>::Args,
                ) -> ::forge::__rt::BoxFuture<'_, ::forge::__rt::Result<<Self as ::forge::__rt::Function>::Output>> {
                    #boxed
                }
            }

            #[automatically_derived]
            impl ::forge::__rt::Registered for #ident {
                const REGISTRATION: ::forge::__rt::Registration =
                    ::forge::__rt::Registration::#register::<#ident>(::core::env!("CARGO_PKG_NAME"));
            }

            #registration
        };
    }
}

fn info(kind: Kind, options: &Options, doc: &str) -> TokenStream {
    let name = &options.name;
    let kind = match kind {
        Kind::Query => quote!(Query),
        Kind::Mutation => quote!(Mutation),
        Kind::Action => quote!(Action),
    };
    let access = match &options.access {
        Access::Public => quote!(Public),
        Access::SignedIn => quote!(SignedIn),
        Access::AnyRole(roles) => quote!(AnyRole(&[#(#roles),*])),
    };
    let duration = |ms: Option<u64>| match ms {
        Some(ms) => quote!(::core::option::Option::Some(::core::time::Duration::from_millis(#ms))),
        None => quote!(::core::option::Option::None),
    };
    let timeout = duration(options.timeout_ms);
    let refresh_every = duration(options.refresh_every_ms);
    let tracking = match options.tracking {
        Tracking::Auto => quote!(Auto),
        Tracking::Table => quote!(Table),
        Tracking::None => quote!(None),
    };
    let isolation = if options.read_committed { quote!(ReadCommitted) } else { quote!(Serializable) };
    let snapshot = options.snapshot;
    let cache = match &options.cache {
        Some(Cache { ttl_ms, follow }) => quote!(::core::option::Option::Some(::forge::__rt::CachePolicy {
            ttl: ::core::time::Duration::from_millis(#ttl_ms),
            follow: #follow,
        })),
        None => quote!(::core::option::Option::None),
    };
    quote! {
        ::forge::__rt::FunctionInfo {
            name: #name,
            kind: ::forge::__rt::FunctionKind::#kind,
            doc: #doc,
            access: ::forge::__rt::Access::#access,
            timeout: #timeout,
            isolation: ::forge::__rt::Isolation::#isolation,
            snapshot: #snapshot,
            refresh_every: #refresh_every,
            tracking: ::forge::__rt::TrackingMode::#tracking,
            cache: #cache,
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        }
    }
}

/// The three forms that arguments take.
enum Arguments<'a> {
    /// There are none.
    None,
    /// The only parameter has the type that would be generated: it is the arguments.
    Own(&'a WireField),
    /// A generated struct with a field per parameter.
    Generated(Ident, &'a [WireField]),
}

impl<'a> Arguments<'a> {
    fn of(function: &ItemFn, signature: &'a Signature) -> Self {
        let name = plain(&function.sig.ident).to_upper_camel_case();
        match signature.parameters.as_slice() {
            [] => Self::None,
            [only] if is_named(&only.ty, &name) => Self::Own(only),
            parameters => Self::Generated(Ident::new(&name, function.sig.ident.span()), parameters),
        }
    }

    fn ty(&self) -> TokenStream {
        match self {
            Self::None => quote!(()),
            Self::Own(field) => {
                let ty = &field.ty;
                quote!(#ty)
            }
            Self::Generated(ident, _) => quote!(#ident),
        }
    }

    /// The parameters' values, from `args`.
    fn values(&self) -> Vec<TokenStream> {
        match self {
            Self::None => Vec::new(),
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

    fn definition(&self, function: &ItemFn) -> TokenStream {
        match self {
            Self::None => TokenStream::new(),
            Self::Own(field) => assert_object(&field.ty, &function.sig.ident),
            Self::Generated(ident, [only]) => generate(function, ident, std::slice::from_ref(only), single(ident, only)),
            Self::Generated(ident, fields) => generate(function, ident, fields, several(ident, fields)),
        }
    }
}

/// A type that stands for all arguments must be an object on the wire.
fn assert_object(ty: &Type, function: &Ident) -> TokenStream {
    let message = format!(
        "the only parameter of `{function}` has the name of its arguments, so it must be a `#[forge::input]` struct or enum with named fields"
    );
    quote_spanned!(at(&ty)=> const _: () = ::core::assert!(<#ty as ::forge::__rt::wire::WireType>::OBJECT, #message);)
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
