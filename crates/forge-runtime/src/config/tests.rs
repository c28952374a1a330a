use std::path::PathBuf;
use std::time::Duration;

use forge_core::Error;
use proptest::prelude::*;

use super::*;

fn load_with(text: &str, env: &[(&str, &str)]) -> Result<Loaded> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forge.toml");
    std::fs::write(&path, text).unwrap();
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::load_for(Some(&path), &env, Mode::Development).map_err(|error| {
        // The folder is another one each time.
        let message = error.message().replace(&path.display().to_string(), "forge.toml");
        Error::config("X", message).with_code(error.code().to_owned())
    })
}

fn load(text: &str) -> Config {
    load_with(text, &[]).unwrap().config
}

#[track_caller]
fn refused(text: &str, env: &[(&str, &str)], code: &str, parts: &[&str]) {
    let error = load_with(text, env).unwrap_err();
    assert_eq!(error.code(), code, "{}", error.message());
    for part in parts {
        assert!(error.message().contains(part), "`{part}` is missing in: {}", error.message());
    }
}

const STRONG: &str = "p7Vt0mZ4qYx1Lw8Rk3Nd6Hs9Jc2Bf5Gu";

#[test]
fn nothing_said_gives_the_defaults_of_the_mode() {
    let config = Config::load_for(None, &|_| None, Mode::Development).unwrap().config;
    assert_eq!(config.gateway.host, "127.0.0.1");
    assert_eq!(config.observability.log_format, LogFormat::Pretty);
    assert_eq!(config.database.pool_size, 20);
    assert_eq!(config.security.auth.cookie_name, "forge_session");
    assert!(config.node.has(Role::Scheduler));
    assert_eq!(config.force_after(), Duration::from_secs(90));
    let production = Config::defaults(Mode::Production);
    assert_eq!(production.force_after(), Duration::from_secs(93));
    assert_eq!(production.gateway.host, "0.0.0.0");
    assert_eq!(production.security.auth.cookie_name, "__Host-forge_session");
}

#[test]
fn a_node_is_given_the_time_that_its_jobs_are() {
    let slow = "[worker]\ndrain_timeout = \"20h\"\n";
    assert_eq!(load(slow).force_after(), Duration::from_secs(20 * 3600 + 60));
    // What runs no jobs has none to wait for.
    let gateway = format!("{slow}[node]\nroles = [\"gateway\", \"function\"]\n[shutdown]\nforce_after = \"45s\"");
    assert_eq!(load(&gateway).force_after(), Duration::from_secs(45));
    let enough = format!("{slow}[shutdown]\nforce_after = \"21h\"");
    assert_eq!(load(&enough).force_after(), Duration::from_secs(21 * 3600));
}

#[test]
fn a_file_that_does_not_exist_is_an_empty_one() {
    let loaded = Config::load_for(Some(Path::new("/nowhere/forge.toml")), &|_| None, Mode::Test).unwrap();
    assert_eq!((loaded.file, loaded.config.mode), (None, Mode::Test));
}

#[test]
fn values_of_every_kind_are_read() {
    let config = load(
        r#"
        project.name = "größe"
        [database]
        url = "postgres://ada@localhost/app"
        pool_timeout = "1m30s"
        statement_timeout = 7
        read_from_replica = false
        tls = "verify-full"
        [gateway]
        max_body_size = "10MB"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [function]
        max_result_size = 2048
        [node]
        roles = ["worker", "worker"]
        [observability]
        sample_rate = 1
        log_level = "info,hyper=warn"
        [auth]
        algorithms = ["HS256", "RS256"]
        [[security.auth.public_keys]]
        kid = "a"
        file = "keys/a.pem"
        [[security.auth.previous_secrets]]
        secret = "old"
        valid_until = 2030-01-31T12:00:00Z
        "#,
    );
    assert_eq!(config.project.name, "größe");
    assert_eq!(config.database.pool_timeout, Duration::from_secs(90));
    assert_eq!(config.database.statement_timeout, Duration::from_secs(7));
    assert_eq!(config.database.tls, Some(TlsMode::VerifyFull));
    assert_eq!(config.gateway.max_body_size, 10_000_000);
    assert_eq!(config.gateway.trusted_proxies.len(), 2);
    assert_eq!(config.function.max_result_size, 2048);
    assert_eq!(config.node.roles, [Role::Worker]);
    assert_eq!(config.observability.sample_rate, 1.0);
    let auth = config.security.auth;
    assert_eq!(auth.algorithms, [Algorithm::HS256, Algorithm::RS256]);
    assert_eq!(auth.public_keys[0].file, Some(PathBuf::from("keys/a.pem")));
    assert_eq!(auth.previous_secrets[0].valid_until, "2030-01-31T12:00:00Z".parse().unwrap());
}

#[test]
fn the_environment_wins_and_the_nearest_name_first() {
    let env = [
        ("FORGE_DATABASE_POOL_SIZE", "30"),
        ("PORT", "1"),
        ("FORGE_PORT", "2"),
        ("FORGE_ROLES", "worker, function, gateway"),
        ("FORGE_FUNCTION_TIMEOUT", "5s"),
        ("FORGE_GATEWAY_HOST", ""),
    ];
    let config = load_with("[database]\npool_size = 10\n[gateway]\nport = 3\nhost = \"::1\"", &env).unwrap().config;
    assert_eq!((config.database.pool_size, config.gateway.port), (30, 2));
    assert_eq!(config.node.roles, [Role::Worker, Role::Function, Role::Gateway]);
    assert_eq!(config.function.timeout, Duration::from_secs(5));
    assert_eq!(config.gateway.host, "::1", "an empty variable counts as unset");
    let config = load_with("", &[("FORGE_GATEWAY_PORT", "9"), ("FORGE_PORT", "2")]).unwrap().config;
    assert_eq!(config.gateway.port, 9);
}

#[test]
fn variables_are_put_into_strings_also_for_numbers_and_lists() {
    let text = r#"
        database = { url = "postgres://app:${PW}@${HOST:-localhost}/app", pool_size = "${POOL}" }
        node.roles = "${ROLES}"
        project.name = "a$${b}"
    "#;
    let config = load_with(text, &[("PW", "pä%20ss"), ("POOL", "12"), ("ROLES", "worker")]).unwrap().config;
    assert_eq!(config.database.url.unwrap().expose(), "postgres://app:pä%20ss@localhost/app");
    assert_eq!((config.database.pool_size, config.project.name.as_str()), (12, "a${b}"));
    assert_eq!(config.node.roles, [Role::Worker]);
}

#[test]
fn an_unset_variable_is_an_error_with_variable_key_and_line() {
    refused(
        "\n[project]\nname = \"${APP_NAME}\"",
        &[],
        "CONFIG_MISSING_VARIABLE",
        &["forge.toml:3:8: `project.name` uses ${APP_NAME}", "${APP_NAME:-…}"],
    );
}

#[test]
fn unknown_keys_are_refused_with_place_neighbour_and_choice() {
    refused(
        "[database]\n  pool_sise = 5",
        &[],
        "CONFIG_UNKNOWN_KEY",
        &[
            "forge.toml:2:3: `pool_sise` is not a key of [database]; did you mean `pool_size`? Its keys are `url`, `replica_urls`",
        ],
    );
    refused(
        "[databse]",
        &[],
        "CONFIG_UNKNOWN_KEY",
        &["forge.toml:1:2: `databse` is not a table", "did you mean `database`?", "[security.auth]"],
    );
    refused(
        "[zzzzzzzzzzzzzz]",
        &[],
        "CONFIG_UNKNOWN_KEY",
        &["is not a table of the configuration. The tables are [project]"],
    );
    refused(
        "[security.atuh]",
        &[],
        "CONFIG_UNKNOWN_KEY",
        &["`atuh` is not a table", "did you mean `auth`?", "The tables are [security.cors], [security.auth]"],
    );
    refused("name = \"x\"", &[], "CONFIG_UNKNOWN_KEY", &["1:1: `name` is not a table"]);
    refused("[auth]\njwt_secret = \"x\"", &[], "CONFIG_UNKNOWN_KEY", &["use security.auth.secret"]);
}

#[test]
fn what_is_not_built_is_refused_as_such() {
    for text in [
        "[storage]",
        "[storage]\nx = 1",
        "[workflows.versioning]",
        "[[alerts]]",
        "[security.encryption]",
        "[gateway]\ngrpc_port = 9000",
        "[database.pools.x]",
    ] {
        refused(text, &[], "CONFIG_NOT_AVAILABLE", &["is not available yet"]);
    }
}

#[test]
fn a_cluster_that_would_take_everybody_for_dead_is_refused() {
    let text = "[cluster]\nheartbeat_interval = \"5s\"\ndead_threshold = \"14s\"";
    refused(text, &[], "CONFIG_INVALID_VALUE", &["3:1", "`cluster.dead_threshold`", "three times"]);
    refused("[cluster.mesh]", &[], "CONFIG_UNKNOWN_KEY", &["through the database only"]);
    refused("[cluster]\ndiscovery = \"dns\"", &[], "CONFIG_UNKNOWN_KEY", &["find each other in the database"]);
}

#[test]
fn wrong_types_and_limits_say_expected_and_found() {
    for (text, parts) in [
        (
            "[database]\npool_size = \"20\"",
            vec!["2:13: `database.pool_size`: expected a whole number from 2 to 1000, found a string"],
        ),
        ("[database]\npool_size = 1", vec!["found 1"]),
        ("[database]\npool_size = 1.5", vec!["found a number with a fraction"]),
        ("[database]\npool_timeout = true", vec!["expected a duration from 10ms to 5m", "found true or false"]),
        ("[database]\npool_timeout = \"5 parsecs\"", vec!["`5 parsecs` is not a duration", "write it like"]),
        ("[database]\npool_timeout = \"1d\"", vec!["found 1d"]),
        ("[database]\npool_timeout = -1", vec!["found -1"]),
        ("[database]\ntls = \"verify\"", vec!["\"verify-full\"", "found \"verify\""]),
        ("[database]\ntls = \"requre\"", vec!["did you mean `require`?"]),
        ("[node]\nroles = [\"gateway\"]", vec!["a gateway runs the functions that it is asked for"]),
        ("[gateway]\nport = 70000", vec!["from 0 to 65535, found 70000"]),
        ("[gateway]\nport = 99999999999999999999", vec!["does not fit into 64 bits"]),
        ("[gateway]\nmax_body_size = \"1 parsec\"", vec!["is not a size"]),
        (
            "[gateway]\ntrusted_proxies = [\n  \"10.0.0.0/8\",\n  \"example.org\",\n]",
            vec!["4:3: `gateway.trusted_proxies`: `example.org` is not an address"],
        ),
        ("[node]\nroles = \"worker\"", vec!["expected a list", "found a string"]),
        ("[node]\nroles = []", vec!["is empty"]),
        ("[observability]\nsample_rate = 1.5", vec!["from 0.0 to 1.0"]),
        ("[observability]\nsample_rate = nan", vec!["from 0.0 to 1.0"]),
        ("[observability]\nmetrics_enabled = \"yes\"", vec!["expected true or false, found a string"]),
        ("database = 5", vec!["`database` is a table, written [database]; found integer"]),
        ("[security.cors]\nallowed_origins = [\"https://app.example/\"]", vec!["2:20", "is not an origin"]),
        ("[auth]\njwks_url = \"http://idp.example/keys\"", vec!["is not an https:// URL"]),
        ("[auth]\nalgorithms = [\"none\"]", vec!["found \"none\""]),
        ("[auth]\nalgorithms = [\"RS256\"]", vec!["neither security.auth.public_keys nor security.auth.jwks_url"]),
        ("[[auth.public_keys]]\nkid = \"a\"", vec!["needs `pem` or `file`"]),
        (
            "[[auth.public_keys]]\nfile = \"a\"\npen = \"b\"",
            vec!["3:1: `security.auth.public_keys`: `pen` is not one of", "did you mean `pem`?"],
        ),
        ("[[auth.public_keys]]\nfile = \"a\"\nalgorithm = \"HS256\"", vec!["is an HMAC one"]),
        ("[[auth.previous_secrets]]\nsecret = \"s\"", vec!["needs both"]),
        ("[auth]\nleeway = \"6m\"", vec!["from 0s to 5m, found 6m"]),
        ("[auth]\ncookie_name = \"__Host-x\"", vec!["browsers accept with TLS only"]),
        ("[auth]\nleeway = 1\n[security.auth]\nleeway = 2", vec!["[auth] is another name of [security.auth]"]),
        (
            "[shutdown]\nforce_after = \"44s\"",
            vec!["must not be below 45s: shutdown.unready_for, shutdown.request_drain_timeout or worker.drain_timeout"],
        ),
        ("[worker]\ndrain_timeout = \"10m\"\n[shutdown]\nforce_after = \"90s\"", vec!["must not be below 10m15s"]),
        ("[project]\nname = \"\"", vec!["is empty"]),
        ("[observability]\nlog_level = \"loud=extreme\"", vec!["is not a log filter"]),
    ] {
        refused(text, &[], "CONFIG_INVALID_VALUE", &parts);
    }
    refused(
        "",
        &[("PORT", "http")],
        "CONFIG_INVALID_VALUE",
        &["environment variable PORT: `gateway.port`: expected a whole number"],
    );
    refused("", &[("FORGE_ENV", "prod")], "CONFIG_INVALID_VALUE", &["FORGE_ENV", "development, production, test"]);
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let error = load_with("[storage]\n[database]\npool_size = 0\ntypo = 1\nurl = \"${NO}\"", &[("PORT", "x")]).unwrap_err();
    assert_eq!(error.code(), "CONFIG_INVALID");
    let lines: Vec<_> = error.message().lines().collect();
    assert_eq!(lines[0], "the configuration has 5 mistakes:");
    for (line, place) in lines[1..].iter().zip([
        "forge.toml:1:2:",
        "forge.toml:3:13:",
        "forge.toml:4:1:",
        "forge.toml:5:7:",
        "environment variable PORT:",
    ]) {
        assert!(line.trim_start().starts_with(place), "{line}");
    }
}

#[test]
fn broken_toml_is_told_with_its_place() {
    refused("[database]\nurl = \"a\npool_size = = 3", &[], "CONFIG_SYNTAX", &["forge.toml:2:", "forge.toml:3:"]);
    refused("[gateway]\nport = ${PORT}", &[], "CONFIG_SYNTAX", &["port = \"${PORT}\""]);
    refused("a = 1\na = 2", &[], "CONFIG_SYNTAX", &["forge.toml:2:1"]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let code = |path: &Path| Config::load_for(Some(path), &|_| None, Mode::Test).unwrap_err().code().to_owned();
    assert_eq!(code(folder.path()), "CONFIG_UNREADABLE");
    let path = folder.path().join("forge.toml");
    std::fs::write(&path, b"\xff").unwrap();
    assert_eq!(code(&path), "CONFIG_UNREADABLE");
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(code(&path), "CONFIG_UNREADABLE");
}

#[test]
fn production_refuses_what_is_unsafe() {
    let good = [("FORGE_ENV", "production"), ("FORGE_SECRET", STRONG), ("DATABASE_URL", "postgres://app@db.example/app")];
    load_with("", &good).unwrap();
    let with = |changes: &[(&'static str, &'static str)]| {
        let mut env: Vec<_> =
            good.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name)).copied().collect();
        env.extend(changes);
        env
    };
    refused("", &with(&[("FORGE_SECRET", "")]), "CONFIG_UNSAFE", &["`security.auth.secret`: is not set"]);
    refused(
        "",
        &with(&[("FORGE_SECRET", "short")]),
        "CONFIG_UNSAFE",
        &["environment variable FORGE_SECRET", "has 5 bytes; production needs 32"],
    );
    refused("", &with(&[("FORGE_SECRET", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]), "CONFIG_UNSAFE", &["not random"]);
    refused("[auth]\nalgorithms = [\"HS512\"]", &good, "CONFIG_UNSAFE", &["production needs 64"]);
    refused(
        "[security.cors]\nallowed_origins = [\"*\"]",
        &good,
        "CONFIG_UNSAFE",
        &["forge.toml:2:1: `security.cors.allowed_origins`: has `*`"],
    );
    refused("", &with(&[("DATABASE_URL", "")]), "CONFIG_INVALID_VALUE", &["`database.url`: is not set"]);
    for mode in ["disable", "prefer"] {
        let text = format!("[database]\nurl = \"postgres://db.example/app?sslmode={mode}\"");
        refused(&text, &with(&[("DATABASE_URL", "")]), "CONFIG_UNSAFE", &["could be without TLS"]);
    }
    refused(
        "[database]\ndirect_url = \"postgres://db.example/app?sslmode=disable\"",
        &good,
        "CONFIG_UNSAFE",
        &["database.direct_url"],
    );
    load_with("[database]\ntls = \"disable\"", &good).unwrap();
    load_with("", &with(&[("DATABASE_URL", "postgres://localhost/app")])).unwrap();
    // Only public keys: nothing is signed here, so there is nothing to guard.
    let keyed = "[auth]\nalgorithms = [\"RS256\"]\njwks_url = \"https://idp.example/keys\"";
    load_with(keyed, &with(&[("FORGE_SECRET", "")])).unwrap();
    // The same is fine on a developer's machine.
    load_with("[security.cors]\nallowed_origins = [\"*\"]", &[("FORGE_SECRET", "short")]).unwrap();
}

#[test]
fn admin_tokens_are_such_as_a_guard_can_tell_apart() {
    let named = |name: &str, secret: &str| format!("[[admin.tokens]]\nname = \"{name}\"\nsecret = \"{secret}\"\n");
    assert!(!load("").admin.is_open() && !load("admin.audit_retain = \"30d\"").admin.is_open());
    assert!(load("admin.role = \"admin\"").admin.is_open());
    let config = load(&format!("admin.token = \"{STRONG}\"\n{}", named("deploy", "another-token-for-deploys")));
    let names: Vec<&str> = config.admin.all_tokens().map(|(name, _)| name).collect();
    assert_eq!(names, ["token", "deploy"]);
    let wrong = |text: &str, part: &str| refused(text, &[("FORGE_SECRET", STRONG)], "CONFIG_INVALID_VALUE", &[part]);
    wrong("admin.token = \"short\"", "`admin.token`: has a token of 5 characters; 16 are needed");
    wrong("admin.token = \"header.payload.signature\"", "a dot, a space");
    wrong("admin.token = \"a token with spaces\"", "a dot, a space");
    wrong(&format!("admin.token = \"{STRONG}\""), "tokens of users are signed with");
    wrong("[[admin.tokens]]\nsecret = \"another-token-for-deploys\"", "needs both `name` and `secret`");
    let twice = named("a", "another-token-for-deploys");
    wrong(&format!("{twice}{}", named("a", "one-more-token-for-deploys")), "two tokens of the name `a`");
    wrong(&format!("{twice}{}", named("b", "another-token-for-deploys")), "twice, under another name");
    let production = [("FORGE_ENV", "production"), ("FORGE_SECRET", STRONG), ("DATABASE_URL", "postgres://localhost/app")];
    refused(
        "admin.token = \"a-token-of-words\"",
        &production,
        "CONFIG_UNSAFE",
        &["`admin.token`: has 16 bytes; production needs 32"],
    );
    refused(&named("a", &"ab".repeat(20)), &production, "CONFIG_UNSAFE", &["`admin.tokens`: has only 2 different"]);
}

#[test]
fn a_mail_server_is_one_and_production_reaches_it_with_tls() {
    let production = [
        ("FORGE_ENV", "production"),
        ("FORGE_SECRET", "k3rT9vQ2mX7pL4wZ8nB5cJ6hD1fG0sYa"),
        ("DATABASE_URL", "postgres://localhost/app"),
    ];
    let of = |url: &str| format!("[mail]\nurl = \"{url}\"");
    for good in
        ["smtps://ada:p%40ss@mail.example", "smtp://mail.example?tls=required", "smtp://localhost:1025", "smtp://[::1]"]
    {
        load_with(&of(good), &production).unwrap();
    }
    for plain in ["smtp://mail.example", "smtp://mail.example?tls=opportunistic"] {
        refused(&of(plain), &production, "CONFIG_UNSAFE", &["`mail.url`: leads to another host without TLS"]);
        load(&of(plain));
    }
    for bad in ["mail.example", "https://mail.example", "smtp://mail.example?tls=maybe", "smtps://"] {
        refused(&of(bad), &[], "CONFIG_INVALID_VALUE", &["`mail.url`"]);
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let env = [("FORGE_SECRET", "s3cret-token"), ("DATABASE_URL", "postgres://ada:s3cret@localhost/app")];
    let text = r#"
        database.replica_urls = ["host=a password=s3cret"]
        auth.previous_secrets = [{ secret = "s3cret-old", valid_until = 2030-01-01T00:00:00Z }]
    "#;
    let loaded = load_with(text, &env).unwrap();
    let shown = format!("{:?} {:?}", loaded, loaded.explain());
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("postgres://ada@localhost:5432/app (with a password)"), "{shown}");
    for (key, value) in [
        ("FORGE_SECRET", "s3cret"),
        ("DATABASE_URL", "s3cret"),
        ("FORGE_PORT", "s3cret"),
        ("FORGE_DATABASE_TLS", "s3cret"),
        ("FORGE_GATEWAY_REQUEST_TIMEOUT", "s3cret"),
    ] {
        if let Err(error) = load_with("", &[(key, value), ("FORGE_ENV", "production")]) {
            assert!(!error.message().contains("s3cret"), "{}", error.message());
        }
    }
}

#[test]
fn explain_says_where_a_value_comes_from() {
    let loaded = load_with("[database]\n\npool_size = 10", &[("FORGE_PORT", "9"), ("FORGE_ENV", "test")]).unwrap();
    let explained = loaded.explain();
    let of = |key: &str| explained.iter().find(|e| e.key == key).map(|e| (e.value.as_str(), e.source.clone())).unwrap();
    assert_eq!(of("database.pool_size"), ("10", Source::File { line: 3 }));
    assert_eq!(of("gateway.port"), ("9", Source::Env { var: "FORGE_PORT".into() }));
    assert_eq!(of("mode"), ("\"test\"", Source::Env { var: "FORGE_ENV".into() }));
    assert_eq!(of("function.timeout"), ("\"30s\"", Source::Default));
    assert_eq!(of("database.url"), ("(not set)", Source::Default));
}

#[test]
fn every_default_is_accepted_where_it_is_shown() {
    // What `config show` prints can be pasted into the file, so defaults lie within their own limits.
    for mode in [Mode::Development, Mode::Production] {
        let config = Config::defaults(mode);
        for section in sections() {
            for key in &section.keys {
                let shown = key.show(&config);
                if shown != "(not set)" && !shown.starts_with("\"__Host-") {
                    load(&format!("[{}]\n{} = {shown}", section.path, key.name));
                }
            }
        }
    }
}

#[test]
fn every_key_is_documented_and_its_variables_are_its_own() {
    let mut variables = std::collections::HashSet::new();
    for section in sections() {
        for key in &section.keys {
            assert!(key.doc.len() > 10, "{}", section.path_of(key));
            for variable in section.variables(key) {
                assert!(variables.insert(variable.clone()), "{variable} says two keys");
            }
        }
    }
}

#[test]
fn the_reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let current = Config::reference();
    if std::env::var_os("FORGE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "docs/configuration.md is out of date; print it anew with FORGE_UPDATE_DOCS=1 cargo test -p forge-runtime config"
    );
}

#[test]
fn every_code_has_a_page() {
    for code in [
        "CONFIG_INVALID",
        "CONFIG_INVALID_VALUE",
        "CONFIG_MISSING_VARIABLE",
        "CONFIG_NOT_AVAILABLE",
        "CONFIG_SYNTAX",
        "CONFIG_UNKNOWN_KEY",
        "CONFIG_UNREADABLE",
        "CONFIG_UNSAFE",
    ] {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/errors/{code}.md"));
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(text.starts_with(&format!("# {code}: ")), "{code}");
        for heading in ["## What happened", "## Why", "## Fix"] {
            assert!(text.contains(heading), "{code} {heading}");
        }
    }
}

fn all_keys() -> Vec<String> {
    sections().iter().flat_map(|section| section.keys.iter().map(|key| section.path_of(key)).collect::<Vec<_>>()).collect()
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = load_with(&text, &[("A", "x")]);
    }

    #[test]
    fn no_values_make_it_panic(
        key in prop::sample::select(all_keys()),
        value in prop_oneof![
            "-?[0-9]{1,25}",
            "\"[ -!#-\\[\\]-~äß€]{0,40}\"",
            prop::sample::select(vec!["[]", "{ a = 1 }", "[[1], {}]", "2030-01-01", "inf"]).prop_map(String::from),
        ],
    ) {
        let _ = load_with(&format!("{key} = {value}"), &[("A", "x")]);
    }
}
