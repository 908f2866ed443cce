//! The clients that `doctor --probe` knows: how to tell that one is installed, how to make it ask for a page, and what to
//! do when it does not find its way. A table and nothing else.

/// One client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientProbe {
    /// What a person calls it.
    pub(crate) name: &'static str,
    /// A program and arguments that end with 0 when the client is installed.
    pub(crate) present: (&'static str, &'static [&'static str]),
    /// Arguments that make it ask; `URL`, `HOST` and `DIR` are filled in.
    pub(crate) arguments: &'static [&'static str],
    /// Variables that make it ask, filled in likewise.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// A file that it reads: name and text, written as it stands.
    pub(crate) file: Option<(&'static str, &'static str)>,
    /// What to do when it does not go through the proxy.
    pub(crate) ignoring: &'static str,
    /// What to do when it does not trust the bundle.
    pub(crate) untrusting: &'static str,
}

/// For clients that have no other way.
const BASE_URL: &str = "give it the base URL of the resource: accredit run --base-url VARIABLE=RESOURCE";
/// For clients that trust what the system trusts.
const OWN_STORE: &str =
    "it has a store of its own: name the bundle in its configuration ($SSL_CERT_FILE under the run)";

const fn client(
    name: &'static str,
    present: (&'static str, &'static [&'static str]),
    arguments: &'static [&'static str],
) -> ClientProbe {
    ClientProbe {
        name,
        present,
        arguments,
        variables: &[],
        file: None,
        ignoring: BASE_URL,
        untrusting: OWN_STORE,
    }
}

/// The table. The first one is `curl`, which the tests use.
pub(crate) const CLIENTS: &[ClientProbe] = &[
    client("curl", ("curl", &["--version"]), &["-sS", "-o", "/dev/null", "URL"]),
    client("wget", ("wget", &["--version"]), &["-q", "--tries=1", "--timeout=10", "-O", "/dev/null", "URL"]),
    client("git", ("git", &["--version"]), &["ls-remote", "URL.git"]),
    client(
        "python urllib",
        ("python3", &["-c", "import urllib.request"]),
        &["-c", "import urllib.request; urllib.request.urlopen('URL', timeout=10)"],
    ),
    client(
        "python requests",
        ("python3", &["-c", "import requests"]),
        &["-c", "import requests; requests.get('URL', timeout=10)"],
    ),
    client(
        "python httpx",
        ("python3", &["-c", "import httpx"]),
        &["-c", "import httpx; httpx.get('URL', timeout=10)"],
    ),
    ClientProbe {
        ignoring: "pass trust_env=True to aiohttp.ClientSession, or use --base-url",
        ..client(
            "python aiohttp",
            ("python3", &["-c", "import aiohttp"]),
            &[
                "-c",
                "import asyncio, aiohttp\nasync def main():\n async with aiohttp.ClientSession() as s:\n  await s.get('URL')\nasyncio.run(main())",
            ],
        )
    },
    ClientProbe {
        ignoring: "Node reads the proxy from 22.21 and 24 on; use such a version, or --base-url",
        ..client("node fetch", ("node", &["-e", "fetch"]), &["-e", "fetch('URL').then(r => r.text())"])
    },
    client("deno", ("deno", &["--version"]), &["eval", "await (await fetch('URL')).text()"]),
    client("bun", ("bun", &["--version"]), &["-e", "await (await fetch('URL')).text()"]),
    ClientProbe {
        variables: &[
            ("CARGO_HOME", "DIR/cargo"),
            ("CARGO_REGISTRIES_PROBE_INDEX", "sparse+https://HOST/index/"),
        ],
        ..client("cargo", ("cargo", &["--version"]), &["search", "probe", "--registry", "probe"])
    },
    ClientProbe {
        variables: &[("PIP_CONFIG_FILE", "/dev/null"), ("PIP_CACHE_DIR", "DIR/pip")],
        ..client(
            "pip",
            ("python3", &["-m", "pip", "--version"]),
            &[
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--retries",
                "0",
                "--dest",
                "DIR",
                "--index-url",
                "https://HOST/simple",
                "probe",
            ],
        )
    },
    ClientProbe {
        variables: &[
            ("AWS_ACCESS_KEY_ID", "AKIAACCREDITPLACEHOL"),
            ("AWS_SECRET_ACCESS_KEY", "AccreditPlaceholderAccreditPlaceholderAcc"),
            ("AWS_MAX_ATTEMPTS", "1"),
            ("AWS_PAGER", ""),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ],
        untrusting: "set AWS_CA_BUNDLE to the bundle; `ca_bundle` in its configuration file stands above it",
        ..client(
            "aws",
            ("aws", &["--version"]),
            &["sts", "get-caller-identity", "--region", "us-east-1", "--endpoint-url", "https://HOST"],
        )
    },
    ClientProbe {
        variables: &[("GH_HOST", "HOST"), ("GH_TOKEN", "AccreditPlaceholder"), ("GH_CONFIG_DIR", "DIR/gh")],
        untrusting: "on macOS, Go programs trust the keychain only: use --base-url",
        ..client("gh", ("gh", &["--version"]), &["api", "/probe"])
    },
    ClientProbe {
        variables: &[
            ("GOPROXY", "https://HOST"),
            ("GOSUMDB", "off"),
            ("GOFLAGS", "-mod=mod"),
            ("GOTOOLCHAIN", "local"),
            ("GOMODCACHE", "DIR/go"),
            ("GOPATH", "DIR/go"),
        ],
        untrusting: "on macOS, Go programs trust the keychain only: use --base-url",
        ..client("go", ("go", &["version"]), &["list", "-m", "example.invalid/probe@latest"])
    },
    client("ruby", ("ruby", &["--version"]), &["-ropen-uri", "-e", "URI.open('URL').read"]),
    ClientProbe {
        ignoring: "PHP's streams read no proxy: use its curl extension, or --base-url",
        untrusting: "PHP reads PHP_INI_SCAN_DIR unless started with -n",
        ..client(
            "php curl",
            ("php", &["-r", "exit(function_exists('curl_init') ? 0 : 1);"]),
            &["-r", "curl_exec(curl_init('URL'));"],
        )
    },
    ClientProbe {
        file: Some((
            "Probe.java",
            "public class Probe { public static void main(String[] a) throws Exception {\n\
             new java.net.URI(a[0]).toURL().openConnection().getInputStream().readAllBytes(); } }\n",
        )),
        untrusting: "an own -Djavax.net.ssl.trustStore on its command line stands above JAVA_TOOL_OPTIONS: leave it away",
        ..client("java", ("java", &["-version"]), &["Probe.java", "URL"])
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_name_of_its_own_and_asks_for_its_host() {
        let mut names: Vec<&str> = CLIENTS.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CLIENTS.len());
        assert_eq!(CLIENTS[0].name, "curl");
        for client in CLIENTS {
            let arguments = client.arguments.iter().any(|a| a.contains("URL") || a.contains("HOST"));
            let variables = client.variables.iter().any(|(_, v)| v.contains("HOST"));
            assert!(arguments || variables, "{}", client.name);
        }
    }
}
