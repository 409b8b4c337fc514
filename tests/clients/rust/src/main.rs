//! The scenario of ../README.md by tonic.

mod proto;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use prost_types::{value::Kind, ListValue, Struct, Timestamp, Value};
use tonic::transport::{Channel, Endpoint};
use tonic::{metadata::AsciiMetadataValue, Code, Request, Status};
use tonic_types::StatusExt;

use proto::waymark::geo::v1::Position;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Ends the step with an error that says what was wrong.
#[macro_export]
macro_rules! check {
    ($condition:expr, $what:expr) => {
        if !$condition {
            return Err(format!("not so: {} ({:?})", stringify!($condition), $what).into());
        }
    };
}

pub struct Settings {
    pub issuer: String,
    pub name: String,
    pub west: f64,
}

pub struct Scenario {
    pub settings: Settings,
    pub channel: Channel,
    pub token: Option<AsciiMetadataValue>,
    pub revision: String,
}

impl Scenario {
    /// A request as the logged-in client.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.anonymous(message);
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        request
    }

    pub fn anonymous<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(TIMEOUT);
        request
    }

    /// `NAME-suffix`
    pub fn own(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.settings.name)
    }

    /// Where `entity` was, in degrees east of our own piece of the world.
    pub fn fix(&self, entity: &str, second: i64, east: f64) -> Position {
        Position {
            entity_id: self.own(entity),
            time: Some(Timestamp {
                seconds: 1_700_000_000 + second,
                nanos: 0,
            }),
            lon_deg: self.settings.west + east,
            lat_deg: 0.5,
            ..Default::default()
        }
    }

    /// The token endpoint is asked as any OAuth client asks it.
    pub fn log_in(&mut self) -> Outcome<()> {
        let discovery = format!("{}/.well-known/openid-configuration", self.settings.issuer);
        let endpoint = json(ureq::get(&discovery).call()?.body_mut())?["token_endpoint"].clone();
        let basic = format!(
            "Basic {}",
            base64(&format!("{}:secret", self.settings.name))
        );
        let mut answer = ureq::post(endpoint.as_str().ok_or("no token endpoint")?)
            .header("authorization", basic)
            .send_form([
                ("grant_type", "client_credentials"),
                ("scope", "operator worker"),
            ])?;
        let token = json(answer.body_mut())?["access_token"].clone();
        self.token = Some(format!("Bearer {}", token.as_str().ok_or("no token")?).parse()?);
        Ok(())
    }
}

fn json(body: &mut ureq::Body) -> Outcome<serde_json::Value> {
    Ok(serde_json::from_str(&body.read_to_string()?)?)
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in text.as_bytes().chunks(3) {
        let bits = part
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - part.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= part.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

pub fn text(value: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(value.into())),
    }
}

pub fn number(value: f64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(value)),
    }
}

pub fn list(values: Vec<Value>) -> Value {
    Value {
        kind: Some(Kind::ListValue(ListValue { values })),
    }
}

pub fn object<const N: usize>(members: [(&str, Value); N]) -> Struct {
    let fields: BTreeMap<_, _> = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Struct { fields }
}

/// Code, reason, domain and the fields that are wrong.
pub fn explained<T: std::fmt::Debug>(
    reply: Result<T, Status>,
) -> Outcome<(Code, String, String, Vec<String>)> {
    let status = reply.err().ok_or("the call did not fail")?;
    let details = status.get_error_details();
    let info = details.error_info().ok_or("no ErrorInfo")?;
    let fields = details.bad_request().map(|bad| {
        bad.field_violations
            .iter()
            .map(|v| v.field.clone())
            .collect()
    });
    Ok((
        status.code(),
        info.reason.clone(),
        info.domain.clone(),
        fields.unwrap_or_default(),
    ))
}

fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let address = format!("http://{}", variable("WAYMARK_ADDRESS")?);
    let mut scenario = Scenario {
        settings: Settings {
            issuer: variable("WAYMARK_ISSUER")?,
            name: variable("WAYMARK_NAME")?,
            west: variable("WAYMARK_WEST")?.parse()?,
        },
        channel: Endpoint::from_shared(address)?.connect().await?,
        token: None,
        revision: String::new(),
    };
    steps::run(&mut scenario).await
}
