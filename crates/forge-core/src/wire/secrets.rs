//! Where a secret would leave the server.

use super::types::{FieldDef, TypeDef, TypeRef, TypeShape};

/// The way to a secret in a type, if there is one, as people would write it: `Account.credentials.password`.
pub fn path_to_secret(types: &[TypeDef], ty: &TypeRef) -> Option<String> {
    let mut seen = Vec::new();
    search(types, ty, &mut seen).map(|steps| steps.join("."))
}

fn search<'a>(types: &'a [TypeDef], ty: &'a TypeRef, seen: &mut Vec<&'a str>) -> Option<Vec<&'a str>> {
    match ty {
        TypeRef::Secret => Some(Vec::new()),
        TypeRef::Option { of } | TypeRef::List { of } | TypeRef::Map { of } => search(types, of, seen),
        TypeRef::Tuple { of } => of.iter().find_map(|item| search(types, item, seen)),
        TypeRef::Named { name } => {
            // A type may contain itself.
            if seen.contains(&name.as_str()) {
                return None;
            }
            seen.push(name);
            let definition = types.iter().find(|definition| definition.name == *name)?;
            let mut steps = match &definition.shape {
                TypeShape::Struct { fields } => in_fields(types, fields, seen)?,
                TypeShape::Union { variants, .. } | TypeShape::Enum { variants } => {
                    variants.iter().find_map(|variant| in_fields(types, &variant.fields, seen))?
                }
                TypeShape::Alias { of, .. } => search(types, of, seen)?,
            };
            // Only the outermost type is part of the path; below it, fields are.
            if seen.first() == Some(&name.as_str()) {
                steps.insert(0, name);
            }
            Some(steps)
        }
        TypeRef::String
        | TypeRef::Bool
        | TypeRef::Int32
        | TypeRef::Int64
        | TypeRef::Float
        | TypeRef::Decimal
        | TypeRef::Uuid
        | TypeRef::Timestamp
        | TypeRef::Date
        | TypeRef::Time
        | TypeRef::Bytes
        | TypeRef::Json
        | TypeRef::Null => None,
    }
}

fn in_fields<'a>(types: &'a [TypeDef], fields: &'a [FieldDef], seen: &mut Vec<&'a str>) -> Option<Vec<&'a str>> {
    fields.iter().find_map(|field| {
        let mut steps = search(types, &field.ty, seen)?;
        steps.insert(0, &field.name);
        Some(steps)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, fields: &[(&str, TypeRef)]) -> TypeDef {
        let field = |(name, ty): &(&str, TypeRef)| FieldDef {
            name: (*name).into(),
            ty: ty.clone(),
            doc: String::new(),
            optional: false,
            rules: Vec::new(),
        };
        let shape = TypeShape::Struct { fields: fields.iter().map(field).collect() };
        TypeDef { name: name.into(), rust: name.into(), doc: String::new(), shape }
    }

    fn named(name: &str) -> TypeRef {
        TypeRef::Named { name: name.into() }
    }

    #[test]
    fn a_secret_is_found_wherever_it_is() {
        let list = |of| TypeRef::List { of: Box::new(of) };
        let types = [
            object("Account", &[("id", TypeRef::Uuid), ("friends", list(named("Account"))), ("login", named("Login"))]),
            object("Login", &[("name", TypeRef::String), ("password", TypeRef::Option { of: Box::new(TypeRef::Secret) })]),
            object("Tree", &[("children", list(named("Tree")))]),
        ];
        assert_eq!(path_to_secret(&types, &list(named("Account"))).unwrap(), "Account.login.password");
        assert_eq!(path_to_secret(&types, &named("Login")).unwrap(), "Login.password");
        assert_eq!(path_to_secret(&types, &TypeRef::Secret).unwrap(), "");
        assert_eq!(path_to_secret(&types, &named("Tree")), None);
        assert_eq!(path_to_secret(&types, &TypeRef::String), None);
    }
}
