//! A manifest with a bit of everything, and short ways to build others.

use forge_core::function::{FunctionKind, Isolation};
use forge_core::job::{Backoff, Priority};
use forge_core::manifest::{FunctionDef, JobDef, MANIFEST_VERSION, Manifest, RetryDef};
use forge_core::schema::TableDef;
use forge_core::validate::Rule;
use forge_core::wire::{FieldDef, TypeDef, TypeRef, TypeShape, VariantDef};

pub(crate) fn named(name: &str) -> TypeRef {
    TypeRef::Named { name: name.into() }
}

pub(crate) fn option(of: TypeRef) -> TypeRef {
    TypeRef::Option { of: Box::new(of) }
}

pub(crate) fn list(of: TypeRef) -> TypeRef {
    TypeRef::List { of: Box::new(of) }
}

pub(crate) fn map(of: TypeRef) -> TypeRef {
    TypeRef::Map { of: Box::new(of) }
}

pub(crate) fn field(name: &str, ty: TypeRef) -> FieldDef {
    FieldDef { name: name.into(), ty, doc: String::new(), optional: false, rules: Vec::new() }
}

/// A field of an `Option`, as the macros describe it: it may be left out.
pub(crate) fn maybe(name: &str, of: TypeRef) -> FieldDef {
    FieldDef { optional: true, ..field(name, option(of)) }
}

pub(crate) fn variant(name: &str, fields: Vec<FieldDef>) -> VariantDef {
    VariantDef { name: name.into(), doc: String::new(), fields }
}

pub(crate) fn ty(name: &str, doc: &str, shape: TypeShape) -> TypeDef {
    TypeDef { name: name.into(), rust: format!("app::{name}"), doc: doc.into(), shape }
}

pub(crate) fn object(name: &str, fields: Vec<FieldDef>) -> TypeDef {
    ty(name, "", TypeShape::Struct { fields })
}

pub(crate) fn alias(name: &str, of: TypeRef) -> TypeDef {
    ty(name, "", TypeShape::Alias { of, rules: Vec::new() })
}

pub(crate) fn function(kind: FunctionKind, name: &str, args: TypeRef, output: TypeRef) -> FunctionDef {
    FunctionDef {
        name: name.into(),
        kind,
        doc: String::new(),
        args,
        output,
        public: false,
        roles: Vec::new(),
        timeout: None,
        isolation: (kind == FunctionKind::Mutation).then_some(Isolation::Serializable),
    }
}

pub(crate) fn job(name: &str, input: TypeRef, output: TypeRef) -> JobDef {
    JobDef {
        name: name.into(),
        doc: String::new(),
        input,
        output,
        queue: "default".into(),
        priority: Priority::Normal,
        timeout: "1h".into(),
        capability: "general".into(),
        retry: RetryDef {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            initial: "1s".into(),
            max_backoff: "5m".into(),
            jitter: true,
            on: Vec::new(),
        },
        idempotent: false,
        roles: Vec::new(),
    }
}

pub(crate) fn manifest(functions: Vec<FunctionDef>, types: Vec<TypeDef>) -> Manifest {
    Manifest {
        manifest_version: MANIFEST_VERSION,
        name: "board".into(),
        version: "1.0.0".into(),
        functions,
        jobs: Vec::new(),
        crons: Vec::new(),
        types,
        tables: Vec::new(),
        enums: Vec::new(),
    }
}

pub(crate) fn board() -> Manifest {
    use FunctionKind::{Action, Mutation, Query};
    let types = vec![
        object("AddCard", vec![field("input", named("NewCard"))]),
        ty(
            "Card",
            "A card on a board.\n\nIt belongs to one column at a time.",
            TypeShape::Struct {
                fields: vec![
                    field("id", TypeRef::Uuid),
                    FieldDef { doc: "Never empty */ ever.".into(), ..field("title", TypeRef::String) },
                    field("state", named("CardState")),
                    maybe("due", TypeRef::Timestamp),
                    field("size", TypeRef::Int64),
                    field("price", TypeRef::Decimal),
                    field("done", TypeRef::Bool),
                    field("weight", TypeRef::Float),
                    field("position", TypeRef::Int32),
                    field("day", TypeRef::Date),
                    field("at", TypeRef::Time),
                    field("picture", option(TypeRef::Bytes)),
                    field("settings", option(TypeRef::Json)),
                    field("tags", list(option(TypeRef::String))),
                    field("votes", map(option(TypeRef::Int32))),
                    field("corner", TypeRef::Tuple { of: vec![TypeRef::Float, option(option(TypeRef::Float))] }),
                    field("children", list(named("Card"))),
                    field("größe", TypeRef::Int32),
                    field("2nd-line", TypeRef::Null),
                    field("delete", list(list(TypeRef::Bool))),
                ],
            },
        ),
        ty(
            "CardState",
            "How far a card is.",
            TypeShape::Enum {
                variants: vec![
                    VariantDef { doc: "Nobody has begun.".into(), ..variant("open", vec![]) },
                    variant("doing", vec![]),
                    VariantDef { doc: "Over,\nfor good.".into(), ..variant("done", vec![]) },
                ],
            },
        ),
        ty(
            "Change",
            "What happened to a card.",
            TypeShape::Union {
                tag: "type".into(),
                variants: vec![
                    VariantDef { doc: "It is new.".into(), ..variant("created", vec![field("card", named("Card"))]) },
                    variant("moved", vec![field("from", TypeRef::Uuid), field("to", TypeRef::Uuid)]),
                    variant(
                        "renamed",
                        vec![FieldDef { doc: "What it was before.".into(), ..maybe("title", TypeRef::String) }],
                    ),
                    variant("gone", vec![]),
                ],
            },
        ),
        object("Column", vec![field("id", TypeRef::Uuid), field("owner", named("Owner"))]),
        ty(
            "Email",
            "An address.",
            TypeShape::Alias { of: TypeRef::String, rules: vec![Rule::Email, Rule::Length { min: None, max: Some(80) }] },
        ),
        object("Date", vec![field("year", TypeRef::Int32)]),
        object("Empty", vec![]),
        ty(
            "Filter",
            "",
            TypeShape::Union {
                tag: "by".into(),
                variants: vec![variant("all", vec![]), variant("state", vec![maybe("state", named("CardState"))])],
            },
        ),
        object("Huge", vec![field("never", TypeRef::Bool)]),
        object("ListCards", vec![field("columnId", TypeRef::Uuid), maybe("filter", named("Filter"))]),
        ty(
            "NewCard",
            "",
            TypeShape::Struct {
                fields: vec![
                    field("columnId", TypeRef::Uuid),
                    FieldDef {
                        doc: "What it is about.".into(),
                        rules: vec![
                            Rule::Length { min: Some(1), max: Some(200) },
                            Rule::Pattern { regex: "^[^*/]*/$".into() },
                            Rule::Custom { name: "app::polite".into() },
                        ],
                        ..field("title", TypeRef::String)
                    },
                    FieldDef {
                        rules: vec![Rule::Range { min: Some("0".into()), max: None }],
                        ..maybe("size", TypeRef::Int64)
                    },
                    FieldDef { optional: true, ..field("colour", named("Colour")) },
                    maybe("link", named("Email")),
                ],
            },
        ),
        ty(
            "Colour",
            "",
            TypeShape::Enum {
                variants: [
                    "red",
                    "orange",
                    "yellow",
                    "green",
                    "blue",
                    "indigo",
                    "violet",
                    "it's complicated",
                    "white",
                    "black",
                ]
                .map(|name| variant(name, vec![]))
                .into(),
            },
        ),
        object("Owner", vec![field("mail", named("Email")), field("kind", named("string"))]),
        ty("Query", "", TypeShape::Enum { variants: vec![variant("all", vec![])] }),
        object("Record", vec![field("since", named("Date")), field("all", map(named("Record")))]),
        alias("Uuid", TypeRef::Int32),
        ty("string", "", TypeShape::Enum { variants: vec![variant("person", vec![]), variant("team", vec![])] }),
        object("UnusedByAnybody", vec![field("huge", named("Huge"))]),
    ];
    let functions = vec![
        FunctionDef {
            doc: "The cards of a column, in order.".into(),
            ..function(Query, "list_cards", named("ListCards"), list(named("Card")))
        },
        FunctionDef { public: true, ..function(Query, "changes", TypeRef::Null, list(named("Change"))) },
        function(Query, "delete", named("Empty"), option(named("Record"))),
        function(Query, "of_2nd_round", TypeRef::Null, named("Query")),
        FunctionDef {
            doc: "Adds a card.\n\nAt the end of its column.".into(),
            roles: vec!["editor".into(), "owner".into()],
            ..function(Mutation, "add_card", named("AddCard"), named("Card"))
        },
        FunctionDef { roles: vec!["owner".into()], ..function(Mutation, "clear", TypeRef::Null, TypeRef::Null) },
        function(Action, "import_from_url", named("ListCards"), TypeRef::Int64),
        function(
            Action,
            "compare_two_boards_that_have_nothing_to_do_with_each_other",
            named("ListCards"),
            map(list(named("Change"))),
        ),
    ];
    let mut manifest = manifest(functions, types);
    for model in ["Column", "NotDescribed"] {
        manifest.tables.push(TableDef {
            name: model.to_lowercase(),
            schema: None,
            model: model.into(),
            columns: Vec::new(),
            indexes: Vec::new(),
        });
    }
    manifest
}
