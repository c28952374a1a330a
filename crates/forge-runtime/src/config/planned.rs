//! Keys that people will look for and that are not there: not yet, or under another name.
//!
//! A key that does nothing is worse than one that is refused, so each of these is refused with a sentence of its own.

/// What to say about a key that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Absent {
    /// Planned, not built.
    NotYet,
    /// Here is what to use.
    Instead(&'static str),
}

const NO_DISCOVERY: &str = "nodes find each other in the database, so nothing has to be discovered";
const NO_MESH: &str = "nodes speak to each other through the database only: no port, no certificates, no peers";

/// Tables and keys by their whole path.
const ABSENT: &[(&str, Absent)] = &[
    ("alerts", Absent::NotYet),
    ("cluster.discovery", Absent::Instead(NO_DISCOVERY)),
    ("cluster.dns_name", Absent::Instead(NO_DISCOVERY)),
    ("cluster.grpc_port", Absent::Instead(NO_MESH)),
    ("cluster.kubernetes_namespace", Absent::Instead(NO_DISCOVERY)),
    ("cluster.max_peer_connections", Absent::Instead(NO_MESH)),
    ("cluster.membership", Absent::Instead(NO_DISCOVERY)),
    ("cluster.mesh", Absent::Instead(NO_MESH)),
    ("cluster.name", Absent::Instead("a cluster is all the nodes of one database; an app's name is project.name")),
    ("cluster.security", Absent::Instead(NO_MESH)),
    ("cluster.static_seeds", Absent::Instead(NO_DISCOVERY)),
    ("crons", Absent::NotYet),
    ("dashboard", Absent::NotYet),
    ("database.drift", Absent::NotYet),
    ("database.embedded", Absent::Instead("in development a private server is used whenever database.url is not set")),
    ("database.pools", Absent::NotYet),
    ("database.system_schema", Absent::NotYet),
    ("database.primary_url", Absent::Instead("database.url is the primary")),
    ("encryption", Absent::NotYet),
    ("env", Absent::Instead("the mode is said by the environment variable FORGE_ENV")),
    ("function.memory_limit", Absent::NotYet),
    ("gateway.grpc_port", Absent::NotYet),
    ("gateway.subscription_timeout", Absent::NotYet),
    ("jobs", Absent::NotYet),
    (
        "migrations.path",
        Absent::Instead("migrations are part of the program; their folder is said by forge::module!(migrations = \"..\")"),
    ),
    ("mode", Absent::Instead("the mode is said by the environment variable FORGE_ENV")),
    ("node.worker_capabilities", Absent::NotYet),
    ("observability.alerts", Absent::NotYet),
    ("observability.dashboard_enabled", Absent::NotYet),
    ("observability.export", Absent::NotYet),
    ("observability.logging", Absent::NotYet),
    ("observability.logs", Absent::NotYet),
    ("observability.metrics", Absent::NotYet),
    ("observability.traces", Absent::NotYet),
    ("project.version", Absent::Instead("the version is that of the app's Cargo.toml")),
    ("rate_limiting", Absent::NotYet),
    ("roles", Absent::Instead("roles are a list: [node] roles = [\"gateway\", \"worker\"]")),
    ("scheduler", Absent::NotYet),
    ("security.auth.jwt_algorithm", Absent::Instead("use security.auth.algorithms")),
    ("security.auth.jwt_secret", Absent::Instead("use security.auth.secret, or the environment variable FORGE_SECRET")),
    ("security.auth.provider", Absent::NotYet),
    ("security.auth.providers", Absent::NotYet),
    ("security.encryption", Absent::NotYet),
    ("security.key_rotation", Absent::NotYet),
    ("security.rate_limiting", Absent::NotYet),
    ("security.secret_key", Absent::Instead("use security.auth.secret, or the environment variable FORGE_SECRET")),
    ("shutdown.job_drain_timeout", Absent::NotYet),
    ("storage", Absent::NotYet),
    ("subscriptions", Absent::NotYet),
    ("testing", Absent::NotYet),
    ("worker", Absent::NotYet),
    ("workflows", Absent::NotYet),
];

/// What is to be said about a path, if it is one of these.
pub(super) fn absent(path: &str) -> Option<Absent> {
    ABSENT.iter().find(|(known, _)| *known == path).map(|(_, absent)| *absent)
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_both_there_and_absent() {
        for section in crate::config::sections() {
            assert!(super::absent(section.path).is_none(), "{}", section.path);
            for key in &section.keys {
                let path = section.path_of(key);
                assert!(super::absent(&path).is_none(), "{path}");
            }
        }
    }
}
