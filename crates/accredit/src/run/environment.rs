//! The environment of a command under `accredit run`: the proxy, the certificate bundle in every spelling that clients
//! look at, and no secret. Pure: the inherited variables come in, the changes go out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::placeholder::{self, Fate};

/// Variables that hold a proxy, each also in lower case: `wget` reads nothing else.
const PROXY: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/// Variables that hold the path of a full certificate bundle, by the client that reads them.
const BUNDLE: [&str; 13] = [
    "SSL_CERT_FILE",                      // OpenSSL: Python, Ruby, Go on Linux, uv
    "CURL_CA_BUNDLE",                     // curl
    "REQUESTS_CA_BUNDLE",                 // Python requests
    "PIP_CERT",                           // pip
    "NODE_EXTRA_CA_CERTS",                // Node, Bun
    "DENO_CERT",                          // Deno
    "GIT_SSL_CAINFO",                     // git
    "CARGO_HTTP_CAINFO",                  // cargo
    "AWS_CA_BUNDLE",                      // botocore
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", // gcloud
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",   // gRPC
    "HTTPLIB2_CA_CERTS",                  // httplib2: Google API clients
    "NIX_SSL_CERT_FILE",                  // programs built by Nix
];

/// Never through the proxy: this machine, and the metadata services that clouds put on link-local addresses.
const NO_PROXY: [&str; 7] =
    ["localhost", "127.0.0.1", "127.0.0.0/8", "::1", "169.254.169.254", "169.254.0.0/16", "fe80::/10"];

/// What a command must not find of ours: it has its listener and nothing else.
const OURS: [&str; 5] =
    ["ACCREDIT_URL", "ACCREDIT_SOCKET", "ACCREDIT_STATE", "ACCREDIT_TOKEN_FILE", "ACCREDIT_SEAL_FD"];

/// What the run knows and the command is told.
#[derive(Debug, Clone)]
pub(crate) struct Wiring {
    /// Port of the local listener on 127.0.0.1.
    pub(crate) port: u16,
    /// The task's id, for the curious.
    pub(crate) task: String,
    /// The directory of this run.
    pub(crate) dir: PathBuf,
    /// Variables that are to hold a base URL, with the resource that each is for.
    pub(crate) base_urls: Vec<(String, String)>,
    /// Variables that are to stay although they look like secrets.
    pub(crate) keep: Vec<String>,
}

impl Wiring {
    /// The bundle: the system's authorities, those of the network around, and the gateway's.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.join("ca-bundle.pem")
    }

    /// The start-up file of `wget`, which reads no variable for its bundle.
    pub(crate) fn wgetrc(&self) -> PathBuf {
        self.dir.join("wgetrc")
    }

    /// The same bundle as a Java key store.
    pub(crate) fn trust_store(&self) -> PathBuf {
        self.dir.join("truststore.jks")
    }

    /// A directory with the one setting that PHP needs.
    pub(crate) fn php_dir(&self) -> PathBuf {
        self.dir.join("php")
    }

    /// The local listener as a proxy.
    pub(crate) fn proxy_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// How the environment of the command differs from the inherited one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Variables to set.
    pub(crate) set: BTreeMap<String, String>,
    /// Variables to take away.
    pub(crate) remove: Vec<OsString>,
    /// Names of secrets that were replaced by a placeholder.
    pub(crate) replaced: Vec<String>,
    /// Names of secrets that were taken away.
    pub(crate) removed: Vec<String>,
    /// Names of secrets that stay because somebody asked for it.
    pub(crate) kept: Vec<String>,
    /// The proxy that was set before, which this run stands in front of.
    pub(crate) proxy_before: Option<String>,
}

/// What must change so that the command finds its way through the listener, and finds no secret. `unreadable` are the
/// inherited variables that are no Unicode: whether they hold a secret is judged by what can be read of them.
pub(crate) fn plan(
    inherited: &BTreeMap<String, String>,
    unreadable: &BTreeMap<OsString, OsString>,
    wiring: &Wiring,
) -> Changes {
    let mut changes = Changes { proxy_before: proxy_before(inherited), ..Changes::default() };
    set_ours(inherited, wiring, &mut changes);
    hide_secrets(inherited, wiring, &mut changes);
    hide_unreadable_secrets(unreadable, wiring, &mut changes);
    changes.remove.extend(OURS.iter().filter(|name| inherited.contains_key(**name)).map(OsString::from));
    changes
}

fn set_ours(inherited: &BTreeMap<String, String>, wiring: &Wiring, changes: &mut Changes) {
    let mut set = |name: &str, value: String| changes.set.insert(name.to_owned(), value);
    for name in PROXY {
        set(name, wiring.proxy_url());
        set(&name.to_ascii_lowercase(), wiring.proxy_url());
    }
    let no_proxy = no_proxy(inherited);
    set("NO_PROXY", no_proxy.clone());
    set("no_proxy", no_proxy);
    let bundle = text(&wiring.bundle());
    for name in BUNDLE {
        set(name, bundle.clone());
    }
    set("NODE_USE_ENV_PROXY", "1".to_owned());
    set("GIT_HTTP_PROXY_AUTHMETHOD", "basic".to_owned());
    set("GIT_TERMINAL_PROMPT", "0".to_owned());
    set("WGETRC", text(&wiring.wgetrc()));
    set("JAVA_TOOL_OPTIONS", java_options(inherited, wiring));
    set("PHP_INI_SCAN_DIR", php_scan_dir(inherited, wiring));
    set("ACCREDIT_TASK", wiring.task.clone());
    for (name, resource) in &wiring.base_urls {
        set(name, format!("{}/u/{resource}", wiring.proxy_url()));
    }
}

/// Of the inherited variables, those that are set anew hold nothing of what they held.
fn hide_secrets(inherited: &BTreeMap<String, String>, wiring: &Wiring, changes: &mut Changes) {
    for (name, value) in inherited {
        let fate = placeholder::fate(name, value);
        if fate == Fate::Stays || OURS.contains(&name.as_str()) || changes.set.contains_key(name) {
            continue;
        }
        if wiring.keep.contains(name) {
            changes.kept.push(name.clone());
            continue;
        }
        match fate {
            Fate::Replaced(placeholder) => {
                changes.set.insert(name.clone(), placeholder);
                changes.replaced.push(name.clone());
            }
            Fate::Removed | Fate::Stays => {
                changes.remove.push(name.into());
                changes.removed.push(name.clone());
            }
        }
    }
}

/// There is no placeholder for these: nobody's key has such a form.
fn hide_unreadable_secrets(
    unreadable: &BTreeMap<OsString, OsString>,
    wiring: &Wiring,
    changes: &mut Changes,
) {
    for (name, value) in unreadable {
        let shown = name.to_string_lossy().into_owned();
        let fate = placeholder::fate(&shown, &value.to_string_lossy());
        if fate == Fate::Stays || changes.set.contains_key(&shown) {
            continue;
        }
        if wiring.keep.contains(&shown) {
            changes.kept.push(shown);
        } else {
            changes.remove.push(name.clone());
            changes.removed.push(shown);
        }
    }
}

/// Loopback, link-local, and whatever the user had.
fn no_proxy(inherited: &BTreeMap<String, String>) -> String {
    let mut entries: Vec<&str> = NO_PROXY.to_vec();
    for name in ["NO_PROXY", "no_proxy"] {
        let own = inherited.get(name).map(String::as_str).unwrap_or_default();
        for entry in own.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
    }
    entries.join(",")
}

fn proxy_before(inherited: &BTreeMap<String, String>) -> Option<String> {
    let mut names = PROXY.iter().flat_map(|n| [(*n).to_owned(), n.to_ascii_lowercase()]);
    names.find(|name| inherited.get(name).is_some_and(|v| !v.is_empty()))
}

/// Java reads its options from one variable, and prints them when it starts.
fn java_options(inherited: &BTreeMap<String, String>, wiring: &Wiring) -> String {
    let port = wiring.port;
    let own = inherited.get("JAVA_TOOL_OPTIONS").map(|own| format!("{own} ")).unwrap_or_default();
    let proxies =
        ["https", "http"].map(|s| format!("-D{s}.proxyHost=127.0.0.1 -D{s}.proxyPort={port}")).join(" ");
    let trust = format!("-Djavax.net.ssl.trustStore={}", text(&wiring.trust_store()));
    format!(
        "{own}{proxies} -Dhttp.nonProxyHosts=localhost|127.*|[::1]|169.254.* {trust} -Djavax.net.ssl.trustStoreType=JKS"
    )
}

/// An empty first entry stands for the directory that PHP was built with.
fn php_scan_dir(inherited: &BTreeMap<String, String>, wiring: &Wiring) -> String {
    let own = inherited.get("PHP_INI_SCAN_DIR").map(String::as_str).unwrap_or_default();
    format!("{own}:{}", text(&wiring.php_dir()))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wiring() -> Wiring {
        Wiring {
            port: 4711,
            task: "t_x".to_owned(),
            dir: PathBuf::from("/run/user/1000/accredit/runs/t_x"),
            base_urls: vec![("OPENAI_BASE_URL".to_owned(), "openai".to_owned())],
            keep: vec!["CI_TOKEN".to_owned()],
        }
    }

    fn planned(inherited: &[(&str, &str)]) -> Changes {
        let inherited = inherited.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        plan(&inherited, &BTreeMap::new(), &wiring())
    }

    #[test]
    fn every_client_finds_proxy_and_bundle() {
        let set = planned(&[]).set;
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            assert_eq!(set[name], "http://127.0.0.1:4711", "{name}");
        }
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "PIP_CERT",
            "NODE_EXTRA_CA_CERTS",
            "DENO_CERT",
            "GIT_SSL_CAINFO",
            "CARGO_HTTP_CAINFO",
            "AWS_CA_BUNDLE",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
        ] {
            assert_eq!(set[name], "/run/user/1000/accredit/runs/t_x/ca-bundle.pem", "{name}");
        }
        assert_eq!(set["NODE_USE_ENV_PROXY"], "1");
        assert_eq!(set["GIT_HTTP_PROXY_AUTHMETHOD"], "basic");
        assert_eq!(set["GIT_TERMINAL_PROMPT"], "0");
        assert!(set["WGETRC"].ends_with("/wgetrc"));
        assert!(set["JAVA_TOOL_OPTIONS"].contains("-Dhttps.proxyPort=4711"));
        assert_eq!(set["ACCREDIT_TASK"], "t_x");
    }

    #[test]
    fn base_urls_are_set_for_what_was_asked_and_nothing_else() {
        let set = planned(&[]).set;
        assert_eq!(set["OPENAI_BASE_URL"], "http://127.0.0.1:4711/u/openai");
        assert!(!set.contains_key("ANTHROPIC_BASE_URL"));
    }

    #[test]
    fn what_is_set_for_the_run_is_not_taken_away_because_of_what_it_held() {
        let mut wiring = wiring();
        wiring.base_urls = vec![("SECRET_SHOP_URL".to_owned(), "shop".to_owned())];
        let inherited = [
            ("SECRET_SHOP_URL".to_owned(), "https://shop.example".to_owned()),
            ("HTTPS_PROXY".to_owned(), "http://ana:hunter2@corp:3128".to_owned()),
        ];
        let changes = plan(&inherited.into(), &BTreeMap::new(), &wiring);
        assert_eq!(changes.remove, Vec::<OsString>::new());
        assert_eq!(changes.set["SECRET_SHOP_URL"], "http://127.0.0.1:4711/u/shop");
        assert_eq!(changes.set["HTTPS_PROXY"], "http://127.0.0.1:4711");
    }

    // case: SEC-01
    #[test]
    fn a_secret_that_is_no_unicode_is_taken_away() {
        use std::os::unix::ffi::OsStringExt as _;
        let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let unreadable = [
            (raw(b"MY_TOKEN"), raw(b"some\xffvalue")),
            (raw(b"M\xffY_PASSWORD"), raw(b"hunter2hunter2")),
            (raw(b"ANY"), raw(concat!("ghp_", "0123456789abcdef\u{e9}").as_bytes())),
            (raw(b"CI_TOKEN"), raw(b"stays\xff")),
            (raw(b"LS_COLORS"), raw(b"\xff")),
        ];
        let removed: Vec<OsString> = [2, 0, 1].map(|i: usize| unreadable[i].0.clone()).into();
        let changes = plan(&BTreeMap::new(), &unreadable.into(), &wiring());
        assert_eq!(changes.remove, removed);
        assert_eq!(changes.kept, ["CI_TOKEN"]);
    }

    #[test]
    fn exceptions_from_the_proxy_keep_this_machine_and_the_users_own() {
        let set = planned(&[("no_proxy", "corp.example, localhost"), ("NO_PROXY", ".lan")]).set;
        let expected =
            "localhost,127.0.0.1,127.0.0.0/8,::1,169.254.169.254,169.254.0.0/16,fe80::/10,.lan,corp.example";
        assert_eq!(set["NO_PROXY"], expected);
        assert_eq!(set["no_proxy"], expected);
    }

    #[test]
    fn a_proxy_that_was_set_before_is_named() {
        assert_eq!(
            planned(&[("https_proxy", "http://corp:3128")]).proxy_before.as_deref(),
            Some("https_proxy")
        );
        assert_eq!(planned(&[("https_proxy", "")]).proxy_before, None);
    }

    #[test]
    fn what_others_put_into_java_and_php_options_stays() {
        let set = planned(&[("JAVA_TOOL_OPTIONS", "-Xmx1g"), ("PHP_INI_SCAN_DIR", "/etc/php.d")]).set;
        assert!(set["JAVA_TOOL_OPTIONS"].starts_with("-Xmx1g -Dhttps.proxyHost="));
        assert_eq!(set["PHP_INI_SCAN_DIR"], "/etc/php.d:/run/user/1000/accredit/runs/t_x/php");
        assert_eq!(planned(&[]).set["PHP_INI_SCAN_DIR"], ":/run/user/1000/accredit/runs/t_x/php");
    }

    // case: SEC-01
    #[test]
    fn a_command_inherits_no_secret_and_none_of_our_own_access() {
        let inherited = [
            ("GITHUB_TOKEN", concat!("ghp_", "0123456789abcdefghijABCDEFGHIJ012345")),
            ("DB_PASSWORD", "hunter2hunter2"),
            ("CI_TOKEN", "stays-because-asked"),
            ("ACCREDIT_SOCKET", "/run/user/1000/accredit/accredit.sock"),
            ("ACCREDIT_TOKEN_FILE", "/tmp/token"),
            ("PATH", "/usr/bin"),
        ];
        let changes = planned(&inherited);
        assert_eq!(changes.replaced, ["GITHUB_TOKEN"]);
        assert_eq!(changes.removed, ["DB_PASSWORD"]);
        assert_eq!(changes.kept, ["CI_TOKEN"]);
        assert_eq!(changes.remove, ["DB_PASSWORD", "ACCREDIT_SOCKET", "ACCREDIT_TOKEN_FILE"]);
        let all = format!("{:?}", changes.set);
        assert!(inherited.iter().take(3).all(|(_, value)| !all.contains(value)), "{all}");
    }
}
