//! The table of all keys: one line per key says its type, default, limits and variables; its comment is its
//! documentation. The reader, `config show` and the reference page all walk this table.

use super::Mode;
use super::kind::{Kind, Wrong};
use super::mistakes::nearest;
use super::node::{Node, Value};

/// A struct that is one table of forge.toml.
pub(super) trait Section: Sized + Send + Sync + 'static {
    /// Its documentation.
    const DOC: &'static str;

    /// Its values when nothing is said.
    fn defaults(mode: Mode) -> Self;

    /// Its keys, in the order they are documented.
    fn keys() -> Vec<Key<Self>>;
}

/// One key of a struct `S`: what is known about it, and how to get at its field.
pub(super) struct Key<S> {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    /// Variables besides the one that follows from the key's path.
    pub(super) env: &'static [&'static str],
    field: Box<dyn Field<S>>,
}

impl<S: 'static> Key<S> {
    pub(super) fn new<T: 'static>(
        name: &'static str,
        doc: &'static str,
        env: &'static [&'static str],
        kind: impl Kind<T> + 'static,
        get: fn(&S) -> &T,
        get_mut: fn(&mut S) -> &mut T,
    ) -> Self {
        Self { name, doc, env, field: Box::new(Direct { kind, get, get_mut }) }
    }

    /// The same key, seen from a struct that contains `S`.
    pub(super) fn within<O: 'static>(self, get: fn(&O) -> &S, get_mut: fn(&mut O) -> &mut S) -> Key<O> {
        Key { name: self.name, doc: self.doc, env: self.env, field: Box::new(Nested { inner: self.field, get, get_mut }) }
    }

    pub(super) fn expected(&self) -> String {
        self.field.expected()
    }

    pub(super) fn fits_env(&self) -> bool {
        self.field.fits_env()
    }

    pub(super) fn parts(&self) -> Vec<(&'static str, &'static str, String)> {
        self.field.parts()
    }

    pub(super) fn show(&self, of: &S) -> String {
        self.field.show(of)
    }

    pub(super) fn set(&self, of: &mut S, node: &Node) -> Result<(), Vec<Wrong>> {
        self.field.set(of, node)
    }
}

trait Field<S>: Send + Sync {
    fn expected(&self) -> String;
    fn fits_env(&self) -> bool;
    fn parts(&self) -> Vec<(&'static str, &'static str, String)>;
    fn show(&self, of: &S) -> String;
    fn set(&self, of: &mut S, node: &Node) -> Result<(), Vec<Wrong>>;
}

struct Direct<S, T, K> {
    kind: K,
    get: fn(&S) -> &T,
    get_mut: fn(&mut S) -> &mut T,
}

impl<S, T, K: Kind<T>> Field<S> for Direct<S, T, K> {
    fn expected(&self) -> String {
        self.kind.expected()
    }

    fn fits_env(&self) -> bool {
        self.kind.fits_env()
    }

    fn parts(&self) -> Vec<(&'static str, &'static str, String)> {
        self.kind.parts()
    }

    fn show(&self, of: &S) -> String {
        self.kind.show((self.get)(of))
    }

    fn set(&self, of: &mut S, node: &Node) -> Result<(), Vec<Wrong>> {
        *(self.get_mut)(of) = self.kind.read(node)?;
        Ok(())
    }
}

struct Nested<O, S> {
    inner: Box<dyn Field<S>>,
    get: fn(&O) -> &S,
    get_mut: fn(&mut O) -> &mut S,
}

impl<O, S> Field<O> for Nested<O, S> {
    fn expected(&self) -> String {
        self.inner.expected()
    }

    fn fits_env(&self) -> bool {
        self.inner.fits_env()
    }

    fn parts(&self) -> Vec<(&'static str, &'static str, String)> {
        self.inner.parts()
    }

    fn show(&self, of: &O) -> String {
        self.inner.show((self.get)(of))
    }

    fn set(&self, of: &mut O, node: &Node) -> Result<(), Vec<Wrong>> {
        self.inner.set((self.get_mut)(of), node)
    }
}

/// A list of tables, such as `[[security.auth.public_keys]]`; `check` looks at each as a whole.
pub(super) fn tables<T: Section>(check: fn(&T) -> Result<(), String>) -> Tables<T> {
    Tables { check }
}

/// See [`tables`].
pub(super) struct Tables<T> {
    check: fn(&T) -> Result<(), String>,
}

impl<T: Section> Tables<T> {
    fn read_one(&self, node: &Node) -> Result<T, Vec<Wrong>> {
        let Value::Table(entries) = &node.value else {
            return Err(vec![(node.at.clone(), format!("expected a table, found {}", node.found()))]);
        };
        let keys = T::keys();
        let (mut value, mut problems) = (T::defaults(Mode::Development), Vec::new());
        for entry in entries {
            match keys.iter().find(|key| key.name == entry.key) {
                Some(key) => {
                    let named = |(at, text)| (at, format!("`{}` {text}", key.name));
                    problems.extend(key.set(&mut value, &entry.value).err().into_iter().flatten().map(named));
                }
                None => {
                    let near = nearest(&entry.key, keys.iter().map(|key| key.name));
                    problems.push((entry.at.clone(), format!("`{}` is not one of {}{near}", entry.key, names(&keys))));
                }
            }
        }
        if problems.is_empty()
            && let Err(problem) = (self.check)(&value)
        {
            problems.push((node.at.clone(), problem));
        }
        if problems.is_empty() { Ok(value) } else { Err(problems) }
    }
}

/// The most tables in one list.
const TABLES_LIMIT: usize = 100;

impl<T: Section> Kind<Vec<T>> for Tables<T> {
    fn expected(&self) -> String {
        format!("a list of tables, each with the keys {}", names(&T::keys()))
    }

    fn read(&self, node: &Node) -> Result<Vec<T>, Vec<Wrong>> {
        let items = match &node.value {
            Value::List(items) if items.len() <= TABLES_LIMIT => items,
            Value::List(_) => return Err(vec![(node.at.clone(), format!("has more than {TABLES_LIMIT} items"))]),
            _ => return Err(vec![(node.at.clone(), format!("expected {}, found {}", self.expected(), node.found()))]),
        };
        let (mut read, mut problems) = (Vec::new(), Vec::new());
        for item in items {
            match self.read_one(item) {
                Ok(value) => read.push(value),
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }

    fn show(&self, value: &Vec<T>) -> String {
        let keys = T::keys();
        let table = |item: &T| {
            let fields: Vec<_> = keys.iter().map(|key| (key.name, key.show(item))).collect();
            let set: Vec<_> = fields.iter().filter(|(_, v)| v != "(not set)").map(|(k, v)| format!("{k} = {v}")).collect();
            format!("{{ {} }}", set.join(", "))
        };
        format!("[{}]", value.iter().map(table).collect::<Vec<_>>().join(", "))
    }

    fn fits_env(&self) -> bool {
        false
    }

    fn parts(&self) -> Vec<(&'static str, &'static str, String)> {
        T::keys().iter().map(|key| (key.name, key.doc, key.expected())).collect()
    }
}

/// "`a`, `b` and `c`", without the "and".
pub(super) fn names<S>(keys: &[Key<S>]) -> String {
    let names: Vec<_> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
    names.join(", ")
}

/// Declares a struct together with its rows of the table:
///
/// ```text
/// section! {
///     /// What the table is for.
///     pub struct DatabaseConfig(mode) {
///         /// What the key is for.
///         pool_size: u32 = 20, int(2..=1000), env "POOL";
///     }
/// }
/// ```
///
/// A line reads: name, type, default (which may look at `mode`), kind with limits, further variables.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        pub struct $Name:ident($mode:ident) {
            $(
                $(#[doc = $key_doc:literal])*
                $key:ident : $Type:ty = $default:expr, $kind:expr $(, env $($env:literal)+)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub struct $Name {
            $(
                $(#[doc = $key_doc])*
                #[doc = ""]
                #[doc = concat!("Default `", stringify!($default), "`; accepts `", stringify!($kind), "`.")]
                pub $key: $Type,
            )*
        }

        impl $crate::config::table::Section for $Name {
            const DOC: &'static str = concat!($($doc, "\n"),*);

            fn defaults($mode: $crate::config::Mode) -> Self {
                let _ = $mode;
                Self { $($key: $default),* }
            }

            fn keys() -> Vec<$crate::config::table::Key<Self>> {
                vec![$(
                    $crate::config::table::Key::new(
                        stringify!($key),
                        concat!($($key_doc, "\n"),*),
                        &[$($($env),+)?],
                        $kind,
                        |section: &Self| &section.$key,
                        |section: &mut Self| &mut section.$key,
                    )
                ),*]
            }
        }

        impl Default for $Name {
            fn default() -> Self {
                <Self as $crate::config::table::Section>::defaults($crate::config::Mode::Development)
            }
        }
    };
}
pub(super) use section;
