//! Queries and urlencoded forms: as params, and without the credentials in them.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::auth::Secret;
use crate::call::Payload;

/// The parameters of a query or of an urlencoded form, credentials apart.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Whether a query or form parameter of this name is a credential.
    pub fn is_credential(name: &str) -> bool {
        matches!(name, "token" | "auth_token")
    }

    /// Adds a parameter.
    pub fn push(&mut self, name: String, value: String) {
        self.pairs.push((name, value));
    }

    /// Reads `a=1&b=2` (the URL standard's `application/x-www-form-urlencoded`).
    pub fn parse(text: &[u8]) -> Query {
        let pairs = form_urlencoded::parse(text)
            .filter(|(name, _)| !Query::is_credential(name))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Query { pairs }
    }

    /// The credentials in it. A space stands for the `+` of a token that was not escaped.
    pub fn credentials(text: &[u8]) -> Vec<Secret> {
        form_urlencoded::parse(text)
            .filter(|(name, value)| Query::is_credential(name) && !value.is_empty())
            .map(|(_, value)| Secret::new(value.replace(' ', "+")))
            .collect()
    }

    /// Adds the parameters of another one.
    pub fn extend(&mut self, other: Query) {
        self.pairs.extend(other.pairs);
    }

    /// The first one of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.pairs.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// As an object of strings; a name that occurs more than once has a list of them.
    pub fn into_object(self) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, value) in self.pairs {
            match object.get_mut(&name) {
                None => {
                    object.insert(name, value.into());
                }
                Some(Value::Array(values)) => values.push(value.into()),
                Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
            }
        }
        object
    }

    /// As params; none at all are `null`.
    pub fn into_params(self) -> Payload {
        if self.is_empty() {
            return Payload::null();
        }
        // Not trusted to be fit to travel: a name may hold what the scan refuses.
        Payload::unchecked_json(Bytes::from(Value::Object(self.into_object()).to_string()))
    }
}

/// The query as it came, without the credentials in it.
pub fn without_credentials(query: &str) -> String {
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| {
            form_urlencoded::parse(pair.as_bytes()).all(|(name, _)| !Query::is_credential(&name))
        })
        .collect();
    kept.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_strings() {
        let params = Query::parse(b"a=1&b=x%20y&c=p+q&a=2&d&a=3").into_params();
        assert_eq!(
            std::str::from_utf8(params.bytes()).unwrap(),
            r#"{"a":["1","2","3"],"b":"x y","c":"p q","d":""}"#
        );
        assert_eq!(Query::parse(b"").into_params(), Payload::null());
        assert_eq!(Query::parse(b"token=x").into_params(), Payload::null());
    }

    #[test]
    fn credentials_are_taken_out_however_they_are_written() {
        let found = Query::credentials(b"auth_token=a+b%3D%3D&x=1&t%6Fken=c");
        let found: Vec<_> = found.iter().map(Secret::expose).collect();
        assert_eq!(found, ["a+b==", "c"]);
        assert_eq!(
            without_credentials("auth_token=a&x=%31&t%6Fken=c&y"),
            "x=%31&y"
        );
    }
}
