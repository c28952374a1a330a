//! What all functions that FORGE calls have in common, be they queries, mutations, actions, jobs or crons: an `async fn` whose first
//! parameter is its context, a type for the others, and a few keys.

pub(crate) mod arguments;
pub(crate) mod keys;
pub(crate) mod signature;
pub(crate) mod written;

use proc_macro2::TokenStream;
use syn::ItemFn;

use crate::mistakes::wrong_item;

/// What a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Mutation,
    Action,
    Job,
    Cron,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Query, Self::Mutation, Self::Action, Self::Job, Self::Cron];

    /// The attribute's name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Action => "action",
            Self::Job => "job",
            Self::Cron => "cron",
        }
    }

    /// The name with its article.
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Query => "a query",
            Self::Mutation => "a mutation",
            Self::Action => "an action",
            Self::Job => "a job",
            Self::Cron => "a cron",
        }
    }

    /// The type of its context.
    pub(crate) fn context(self) -> &'static str {
        match self {
            Self::Query => "QueryContext",
            Self::Mutation => "MutationContext",
            Self::Action => "ActionContext",
            Self::Job => "JobContext",
            Self::Cron => "CronContext",
        }
    }

    fn of_context(context: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.context() == context)
    }

    /// Reads the function that the attribute stands on; when it stands on something else, gives that back with a word about it.
    pub(crate) fn function(self, item: TokenStream) -> Result<ItemFn, TokenStream> {
        syn::parse2(item.clone()).map_err(|error| {
            let wanted = format!("`#[forge::{}]` stands on an `async fn`, and this is none", self.word());
            wrong_item(item, &wanted, error)
        })
    }
}
