//! Where a type is used in another one.

use super::types::{FieldDef, TypeDef, TypeRef, TypeShape};

/// The way to a type that is `wanted` in `ty` or below it, if there is one, as people would write it: `Account.login.password`; empty when
/// `ty` is wanted itself, or a list of such.
pub fn path_to(types: &[TypeDef], ty: &TypeRef, wanted: &dyn Fn(&TypeRef) -> bool) -> Option<String> {
    search(types, ty, wanted, &mut Vec::new()).map(|steps| steps.join("."))
}

type Wanted<'w> = &'w dyn Fn(&TypeRef) -> bool;

fn search<'a>(types: &'a [TypeDef], ty: &'a TypeRef, wanted: Wanted<'_>, seen: &mut Vec<&'a str>) -> Option<Vec<&'a str>> {
    match ty {
        ty if wanted(ty) => Some(Vec::new()),
        TypeRef::Named { name } => {
            // A type may contain itself.
            if seen.contains(&name.as_str()) {
                return None;
            }
            seen.push(name);
            let definition = types.iter().find(|definition| definition.name == *name)?;
            let mut steps = match &definition.shape {
                TypeShape::Struct { fields } => in_fields(types, fields, wanted, seen)?,
                TypeShape::Union { variants, .. } | TypeShape::Enum { variants } => {
                    variants.iter().find_map(|variant| in_fields(types, &variant.fields, wanted, seen))?
                }
                TypeShape::Alias { of, .. } => search(types, of, wanted, seen)?,
            };
            // Only the outermost type is part of the path; below it, fields are.
            if seen.first() == Some(&name.as_str()) {
                steps.insert(0, name);
            }
            Some(steps)
        }
        ty => ty.parts().iter().find_map(|part| search(types, part, wanted, seen)),
    }
}

fn in_fields<'a>(
    types: &'a [TypeDef],
    fields: &'a [FieldDef],
    wanted: Wanted<'_>,
    seen: &mut Vec<&'a str>,
) -> Option<Vec<&'a str>> {
    fields.iter().find_map(|field| {
        let mut steps = search(types, &field.ty, wanted, seen)?;
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
    fn what_is_wanted_is_found_wherever_it_is() {
        let secret = |types: &[TypeDef], ty: &TypeRef| path_to(types, ty, &|ty| *ty == TypeRef::Secret);
        let list = |of| TypeRef::List { of: Box::new(of) };
        let types = [
            object("Account", &[("id", TypeRef::Uuid), ("friends", list(named("Account"))), ("login", named("Login"))]),
            object("Login", &[("name", TypeRef::String), ("password", TypeRef::Option { of: Box::new(TypeRef::Secret) })]),
            object("Tree", &[("children", list(named("Tree")))]),
        ];
        assert_eq!(secret(&types, &list(named("Account"))).unwrap(), "Account.login.password");
        assert_eq!(secret(&types, &named("Login")).unwrap(), "Login.password");
        assert_eq!(secret(&types, &TypeRef::Secret).unwrap(), "");
        assert_eq!(secret(&types, &named("Tree")), None);
        assert_eq!(secret(&types, &TypeRef::String), None);
        assert_eq!(path_to(&types, &named("Account"), &|ty| *ty == named("Login")).unwrap(), "Account.login");
    }
}
