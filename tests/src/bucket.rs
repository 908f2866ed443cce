//! An S3-compatible server on loopback with one bucket, by moto: what is put there is in its memory. It checks signatures, and
//! its one user may do what the guide says that a publisher needs, and nothing else.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Said, free_port, tool, wait_for};

/// The bucket.
pub const BUCKET: &str = "acme-ledger";

/// Makes the bucket and the user, then lets nobody in without a signature.
const SET_UP: &str = r#"
s3.create_bucket(Bucket=bucket)
iam = client('iam')
iam.create_user(UserName='publisher')
policy = json.dumps({'Version': '2012-10-17', 'Statement': [
    {'Effect': 'Allow', 'Action': 's3:ListBucket', 'Resource': f'arn:aws:s3:::{bucket}'},
    {'Effect': 'Allow', 'Action': ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'],
     'Resource': f'arn:aws:s3:::{bucket}/*'}]})
iam.put_user_policy(UserName='publisher', PolicyName='publish', PolicyDocument=policy)
key = iam.create_access_key(UserName='publisher')['AccessKey']
print(key['AccessKeyId'], key['SecretAccessKey'])
plain = {'content-type': 'text/plain'}
urllib.request.urlopen(urllib.request.Request(url + '/moto-api/reset-auth', b'0', plain))
"#;

/// Copies everything in the bucket to a directory.
const COPY: &str = "
for page in s3.get_paginator('list_objects_v2').paginate(Bucket=bucket):
    for item in page.get('Contents', []):
        path = pathlib.Path(directory, item['Key'])
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, item['Key'], str(path))
";

/// A server that runs until it is dropped.
pub struct Bucket {
    /// Where it answers.
    pub address: SocketAddr,
    /// Identifier of the user's key.
    pub access_key: String,
    /// The user's key.
    pub secret_key: String,
    child: Child,
}

impl Bucket {
    /// Starts the server and makes the bucket.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = || File::options().create(true).append(true).open(dir.join("bucket.log")).expect("a file");
        let child = Command::new(tool("python/bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .env("HOME", dir)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("the server can be started");
        let (access_key, secret_key) = ("any".to_owned(), "any".to_owned());
        let mut bucket = Self { address, access_key, secret_key, child };
        wait_for(|| TcpStream::connect(address).ok());
        let said = bucket.python(dir, SET_UP);
        let (access_key, secret_key) = said.stdout.trim().split_once(' ').expect("a key");
        (bucket.access_key, bucket.secret_key) = (access_key.to_owned(), secret_key.to_owned());
        bucket
    }

    /// Copies everything in the bucket to a directory.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn copy_to(&self, dir: &Path) {
        self.python(dir, COPY);
    }

    #[track_caller]
    fn python(&self, dir: &Path, script: &str) -> Said {
        let head = format!(
            "import boto3, json, pathlib, urllib.request\n\
             bucket, directory, url = '{BUCKET}', '{}', 'http://{}'\n\
             def client(name): return boto3.client(name, endpoint_url=url, region_name='us-east-1', \
             aws_access_key_id='{}', aws_secret_access_key='{}')\n\
             s3 = client('s3')\n",
            dir.display(),
            self.address,
            self.access_key,
            self.secret_key
        );
        let mut python = Command::new(tool("python/bin/python3"));
        let done = python.args(["-c", &(head + script)]).env("HOME", dir).output().expect("python runs");
        Said::of(&done).ok()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
