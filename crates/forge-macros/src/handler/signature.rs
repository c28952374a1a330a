//! What the signature of a function must be, and what can be built from it.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{FnArg, GenericArgument, ItemFn, Pat, PatType, PathArguments, ReturnType, Safety, Type, parse_quote};

use super::Kind;
use crate::mistakes::Mistakes;
use crate::types::{is_named, last_segment, ungroup};
use crate::wire_field::{WireField, refuse_clashes};

/// The parts that the expansion is made of.
pub(crate) struct Signature {
    /// The parameters after the context.
    pub(crate) parameters: Vec<WireField>,
    /// The return type: a `Result`.
    pub(crate) output: Type,
}

/// Checks the signature and takes our attributes from the parameters. `None` when it is so far off that nothing can be built.
pub(crate) fn read(kind: Kind, function: &mut ItemFn, mistakes: &mut Mistakes) -> Option<Signature> {
    let drawing = drawing(kind, &function.sig.ident);
    refuse_modifiers(kind, function, &drawing, mistakes);
    let context = find_context(kind, function, &drawing, mistakes);
    let mut parameters = Vec::new();
    let mut readable = true;
    for (position, argument) in function.sig.inputs.iter_mut().enumerate() {
        match argument {
            _ if context == Some(position) => {}
            FnArg::Receiver(receiver) => {
                mistakes.add(&*receiver, format!("{} is a plain function, not a method\n{drawing}", kind.phrase()));
                readable = false;
            }
            FnArg::Typed(parameter) => match read_parameter(parameter, mistakes) {
                Some(field) => parameters.push(field),
                None => readable = false,
            },
        }
    }
    refuse_clashes(&parameters, mistakes);
    if kind == Kind::Cron {
        for parameter in &parameters {
            let place = &parameter.ident;
            mistakes.add(place, format!("a cron takes its context alone: the clock passes no arguments\n{drawing}"));
        }
    }
    let output = read_output(kind, function, &drawing, mistakes)?;
    readable.then_some(Signature { parameters, output })
}

fn read_output(kind: Kind, function: &ItemFn, drawing: &str, mistakes: &mut Mistakes) -> Option<Type> {
    let ReturnType::Type(_, output) = &function.sig.output else {
        mistakes.add(&function.sig.ident, format!("{} returns a `Result`\n{drawing}", kind.phrase()));
        return None;
    };
    // An alias of a `Result` may have any name; these are certainly none.
    let is_none = match ungroup(output) {
        Type::Path(_) => last_segment(output).is_some_and(|last| NO_RESULTS.iter().any(|name| last.ident == name)),
        Type::Macro(_) | Type::Infer(_) => false,
        _ => true,
    };
    if is_none {
        let written = output.to_token_stream().to_string().replace(' ', "");
        mistakes.add(output, format!("{} returns a `Result`: write `Result<{written}>`\n{drawing}", kind.phrase()));
        return None;
    }
    if kind == Kind::Cron
        && first_parameter(output).is_some_and(|value| !matches!(value, Type::Tuple(unit) if unit.elems.is_empty()))
    {
        mistakes.add(output, format!("a cron returns nothing: nobody waits for it\n{drawing}"));
    }
    Some((**output).clone())
}

/// `T` of a `Result<T>`, when it is written out.
fn first_parameter(result: &Type) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &last_segment(result)?.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(value) => Some(ungroup(value)),
        _ => None,
    }
}

const NO_RESULTS: &[&str] = &[
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "isize",
    "f32",
    "f64",
    "String",
    "Vec",
    "Option",
    "Box",
    "HashMap",
    "BTreeMap",
    "Uuid",
    "Timestamp",
    "Date",
    "Time",
    "Decimal",
    "Json",
    "Value",
];

/// The valid signature, for messages.
fn drawing(kind: Kind, name: &Ident) -> String {
    let (phrase, context) = (kind.phrase(), kind.context());
    let signature = match kind {
        Kind::Query | Kind::Mutation | Kind::Action => {
            format!("async fn {name}(ctx: &{context}, ..arguments) -> Result<..>")
        }
        Kind::Job => format!("pub async fn {name}(ctx: &{context}, input: Input) -> Result<Output>"),
        Kind::Cron => format!("pub async fn {name}(ctx: &{context}) -> Result<()>"),
    };
    format!("the signature of {phrase}:\n\n    {signature}\n")
}

fn refuse_modifiers(kind: Kind, function: &ItemFn, drawing: &str, mistakes: &mut Mistakes) {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        mistakes.add(signature.fn_token, format!("{} is an `async fn`\n{drawing}", kind.phrase()));
    }
    if let Some(word) = &signature.constness {
        mistakes.add(word, format!("{} cannot be `const`", kind.phrase()));
    }
    match &signature.safety {
        Safety::Unsafe(word) => {
            mistakes.add(word, format!("{} cannot be `unsafe`: anybody may call it with any arguments", kind.phrase()))
        }
        Safety::Safe(word) => mistakes.add(word, "`safe` has no place here"),
        Safety::Default => {}
    }
    if let Some(abi) = &signature.abi {
        mistakes.add(abi, format!("{} cannot be `extern`", kind.phrase()));
    }
    if let Some(variadic) = &signature.variadic {
        mistakes.add(variadic, format!("{} has a fixed list of arguments", kind.phrase()));
    }
    crate::attrs::refuse_generics(&signature.generics, kind.phrase(), mistakes);
}

/// The position of the parameter that stands for the context, be it right or wrong.
fn find_context(kind: Kind, function: &ItemFn, drawing: &str, mistakes: &mut Mistakes) -> Option<usize> {
    let (phrase, wanted) = (kind.phrase(), kind.context());
    let missing = || format!("{phrase} takes its context first: `ctx: &{wanted}`\n{drawing}");
    let named = function.sig.inputs.iter().enumerate().find_map(|(position, argument)| match argument {
        FnArg::Typed(parameter) => Some((position, parameter, Kind::of_context(&context_name(&parameter.ty))?)),
        FnArg::Receiver(_) => None,
    });
    match (named, function.sig.inputs.first()) {
        (Some((position, parameter, found)), _) => {
            if position > 0 {
                mistakes.add(parameter, missing());
            } else if found == kind {
                check_reference(parameter, wanted, drawing, mistakes);
            } else {
                let name = found.context();
                mistakes.add(
                    &parameter.ty,
                    format!(
                        "{phrase} takes `&{wanted}`; with `&{name}` this is {}: write `#[forge::{}]`\n{drawing}",
                        found.phrase(),
                        found.word()
                    ),
                );
            }
            Some(position)
        }
        // Said where methods are refused.
        (None, Some(FnArg::Receiver(_))) => None,
        (None, Some(FnArg::Typed(parameter))) => {
            mistakes.add(parameter, missing());
            // `_ctx: &Context` was meant for a context; `column_id: Uuid` was not.
            matches!(ungroup(&parameter.ty), Type::Reference(_)).then_some(0)
        }
        (None, None) => {
            mistakes.add_error(syn::Error::new(function.sig.paren_token.span.join(), missing()));
            None
        }
    }
}

fn context_name(ty: &Type) -> String {
    let inner = match ungroup(ty) {
        Type::Reference(reference) => &reference.elem,
        other => other,
    };
    last_segment(inner).map(|segment| segment.ident.to_string()).unwrap_or_default()
}

fn check_reference(parameter: &PatType, wanted: &str, drawing: &str, mistakes: &mut Mistakes) {
    let Type::Reference(reference) = ungroup(&parameter.ty) else {
        return mistakes.add(&parameter.ty, format!("the context is borrowed: write `&{wanted}`\n{drawing}"));
    };
    if let Some(word) = &reference.mutability {
        mistakes.add(word, format!("the context is shared, never changed: write `&{wanted}`\n{drawing}"));
    }
    if let Some(lifetime) = &reference.lifetime {
        mistakes.add(lifetime, format!("the context has no named lifetime: write `&{wanted}`\n{drawing}"));
    }
}

fn read_parameter(parameter: &mut PatType, mistakes: &mut Mistakes) -> Option<WireField> {
    let Pat::Ident(pattern) = &*parameter.pat else {
        mistakes.add(&parameter.pat, "an argument has a plain name, which is its name on the wire: write `name: Type`");
        return None;
    };
    if pattern.by_ref.is_some() || pattern.subpat.is_some() {
        mistakes.add(pattern, "an argument has a plain name, which is its name on the wire: write `name: Type`");
        return None;
    }
    crate::attrs::refuse_cfg(&parameter.attrs, "an argument", "write two functions instead", mistakes);
    let ident = pattern.ident.clone();
    let mut ty = (*parameter.ty).clone();
    match ungroup(&parameter.ty) {
        Type::Reference(reference) => {
            let owned = owned(&reference.elem);
            mistakes.add(
                &parameter.ty,
                format!("arguments are owned: write `{}`", owned.to_token_stream().to_string().replace(' ', "")),
            );
            ty = owned;
        }
        Type::ImplTrait(_) => {
            mistakes.add(&parameter.ty, "an argument has one known type, so that it can be read from the wire");
            return None;
        }
        Type::Infer(_) => {
            mistakes.add(&parameter.ty, "write the type out");
            return None;
        }
        _ => {}
    }
    let field = WireField::take(&mut parameter.attrs, &ident, &ty, mistakes);
    // The language allows no doc comments on parameters; ours have gone into the arguments' type.
    parameter.attrs.retain(|attr| !attr.path().is_ident("doc"));
    Some(field)
}

/// The type to write instead of a reference to this one.
fn owned(borrowed: &Type) -> Type {
    match ungroup(borrowed) {
        Type::Slice(slice) => {
            let item = &slice.elem;
            parse_quote!(Vec<#item>)
        }
        text if is_named(text, "str") => parse_quote!(String),
        other => other.clone(),
    }
}
