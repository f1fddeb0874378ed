//! Who may do what: one total function, [`authorize`], for single operations, multis, watch registrations and
//! watch deliveries alike (reliability.md 0.6), and the fix-up of ACLs that clients send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::wire::acl::{Acl, AclRequest, Id};
use crate::wire::error::ErrorCode;

/// The hash of the digest scheme (`DigestAuthenticationProvider.digestAlg`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DigestAlgorithm {
    #[default]
    Sha1,
    Sha256,
    Sha512,
}

/// What the server's configuration says about authorization. Has no `Debug`: it holds the super digest.
#[derive(Clone, Default)]
pub struct Policy {
    /// `skipACL=yes`: nothing is checked.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.enabled=false` removes the scheme.
    pub digest_disabled: bool,
    /// The hash of the digest scheme.
    pub digest_algorithm: DigestAlgorithm,
    /// `user:hash` of the super user.
    pub super_digest: Option<String>,
}

/// Whether `ids` may do what `perm` says under `acl` (`ZooKeeperServer#checkACL`). One of several bits is enough.
pub fn authorize(policy: &Policy, acl: &[Acl], perm: i32, ids: &[Id]) -> bool {
    if policy.skip_acl || acl.is_empty() || ids.iter().any(|id| id.scheme == "super") {
        return true;
    }
    acl.iter().filter(|entry| entry.perms & perm != 0).any(|entry| {
        let wanted = &entry.id;
        (wanted.scheme == "world" && wanted.id == "anyone")
            || ids
                .iter()
                .any(|id| id.scheme == wanted.scheme && policy.matches(&id.scheme, &id.id, &wanted.id))
    })
}

impl Policy {
    fn knows(&self, scheme: &str) -> bool {
        scheme == "ip" || (scheme == "digest" && !self.digest_disabled)
    }

    fn matches(&self, scheme: &str, id: &str, wanted: &str) -> bool {
        match scheme {
            "digest" => !self.digest_disabled && id == wanted,
            "ip" => ip::matches(id, wanted),
            _ => false,
        }
    }

    fn is_valid(&self, scheme: &str, id: &str) -> bool {
        match scheme {
            // Java's split drops empty parts at the end: "a:" is one part, "a:b:" two.
            "digest" => !self.digest_disabled && id.trim_end_matches(':').split(':').count() == 2 && id.contains(':'),
            "ip" => ip::is_valid(id),
            _ => false,
        }
    }

    /// The identities that credentials prove, or `None` if they are refused.
    pub fn authenticate(&self, scheme: &str, auth: Option<&[u8]>, peer: &str) -> Option<Vec<Id>> {
        match (scheme, auth) {
            ("ip", _) => Some(vec![Id::new("ip", peer)]),
            ("digest", Some(auth)) if !self.digest_disabled => {
                let digest = self.digest(&String::from_utf8_lossy(auth));
                let is_super = self
                    .super_digest
                    .as_deref()
                    .is_some_and(|super_digest| same(super_digest, &digest));
                let super_id = is_super.then(|| Id::new("super", ""));
                Some(super_id.into_iter().chain([Id::new("digest", digest)]).collect())
            }
            _ => None,
        }
    }

    /// `user:base64(hash("user:password"))`; without a colon the whole text is the user.
    pub fn digest(&self, credentials: &str) -> String {
        use sha2::Digest as _;
        let user = credentials.split(':').next().unwrap_or_default();
        let hash = match self.digest_algorithm {
            DigestAlgorithm::Sha1 => BASE64.encode(sha1::Sha1::digest(credentials)),
            DigestAlgorithm::Sha256 => BASE64.encode(sha2::Sha256::digest(credentials)),
            DigestAlgorithm::Sha512 => BASE64.encode(sha2::Sha512::digest(credentials)),
        };
        format!("{user}:{hash}")
    }

    /// What a create or setACL really stores (`PrepRequestProcessor#fixupACL`): duplicates gone, `auth` replaced
    /// by the caller's authenticated identities, everything else checked.
    pub fn fix_up(&self, requested: Option<&[AclRequest<'_>]>, ids: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
        let mut unique: Vec<&AclRequest<'_>> = Vec::new();
        for entry in requested.unwrap_or_default() {
            if !unique.contains(&entry) {
                unique.push(entry);
            }
        }
        if unique.is_empty() {
            return Err(ErrorCode::InvalidAcl);
        }
        let mut fixed = Vec::with_capacity(unique.len());
        for AclRequest { perms, scheme, id } in unique {
            let Some(scheme) = scheme.as_deref() else {
                return Err(ErrorCode::InvalidAcl);
            };
            match (scheme, id.as_deref()) {
                ("world", Some("anyone")) => fixed.push(Acl::anyone(*perms)),
                ("auth", _) => {
                    let mine = ids.iter().filter(|id| id.scheme == "digest" && self.knows("digest"));
                    let before = fixed.len();
                    fixed.extend(mine.map(|id| Acl {
                        perms: *perms,
                        id: id.clone(),
                    }));
                    if fixed.len() == before {
                        return Err(ErrorCode::InvalidAcl);
                    }
                }
                // Where Java's code meets a null id it throws, and the client reads a marshalling error.
                (_, None) if scheme == "world" || self.knows(scheme) => return Err(ErrorCode::MarshallingError),
                (_, Some(id)) if self.is_valid(scheme, id) => fixed.push(Acl {
                    perms: *perms,
                    id: Id::new(scheme, id),
                }),
                _ => return Err(ErrorCode::InvalidAcl),
            }
        }
        Ok(fixed)
    }
}

/// What somebody without ADMIN sees of an ACL: no hashes (`FinalRequestProcessor`, getACL).
pub fn masked(acl: &[Acl]) -> Vec<Acl> {
    let mask = |id: &str| {
        id.split_once(':')
            .map_or(id.to_owned(), |(user, _)| format!("{user}:x"))
    };
    let entry = |acl: &Acl| match acl.id.scheme.as_str() {
        "digest" => Acl {
            perms: acl.perms,
            id: Id::new("digest", mask(&acl.id.id)),
        },
        _ => acl.clone(),
    };
    acl.iter().map(entry).collect()
}

/// Compares without telling by its duration where texts differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

/// The `ip` scheme: addresses with an optional count of leading bits (`IPAuthenticationProvider`).
mod ip {
    pub fn is_valid(text: &str) -> bool {
        parse(text).is_some()
    }

    pub fn matches(peer: &str, wanted: &str) -> bool {
        let (Some((mut wanted, bits)), Some((mut peer, _))) = (parse(wanted), address(peer).map(|a| (a, 0))) else {
            return false;
        };
        mask(&mut wanted, bits);
        mask(&mut peer, bits);
        wanted == peer
    }

    fn parse(text: &str) -> Option<(Vec<u8>, usize)> {
        let (host, bits) = match text.split_once('/') {
            Some((host, bits)) => (host, Some(bits.parse::<i32>().ok()?)),
            None => (text, None),
        };
        let bytes = address(host)?;
        let all = bytes.len() * 8;
        let bits = bits.map_or(Some(all), |bits| usize::try_from(bits).ok().filter(|bits| *bits <= all))?;
        Some((bytes, bits))
    }

    fn address(text: &str) -> Option<Vec<u8>> {
        if text.contains(':') { v6(text) } else { v4(text) }
    }

    fn v4(text: &str) -> Option<Vec<u8>> {
        let parts: Vec<&str> = text.split('.').collect();
        let bytes = parts
            .iter()
            .map(|part| u8::try_from(part.parse::<i32>().ok()?).ok())
            .collect::<Option<Vec<u8>>>()?;
        (bytes.len() == 4).then_some(bytes)
    }

    fn v6(text: &str) -> Option<Vec<u8>> {
        let halves: Vec<&str> = text.split("::").collect();
        let segments = |half: &str| -> Option<Vec<u8>> {
            if half.is_empty() && halves.len() == 2 {
                return Some(vec![]);
            }
            let mut bytes = Vec::new();
            for segment in half.split(':') {
                if segment.is_empty() || segment.len() > 4 {
                    return None;
                }
                bytes.extend((i32::from_str_radix(segment, 16).ok()? as u16).to_be_bytes());
            }
            Some(bytes)
        };
        match halves[..] {
            [whole] => segments(whole).filter(|bytes| bytes.len() == 16),
            [head, tail] => {
                let (head, tail) = (segments(head)?, segments(tail)?);
                let zeros = 16usize
                    .checked_sub(head.len() + tail.len())
                    .filter(|zeros| *zeros > 0)?;
                Some([head, vec![0; zeros], tail].concat())
            }
            _ => None,
        }
    }

    fn mask(bytes: &mut [u8], bits: usize) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            let kept = bits.saturating_sub(index * 8).min(8);
            *byte &= !(0xFFu16 >> kept) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl {
            perms,
            id: Id::new(scheme, id),
        }
    }

    #[test]
    fn digests_are_javas() {
        let policy = Policy {
            super_digest: Some("super:lK75jTNcA+U9vtVEw5vB51mj/w4=".into()),
            ..Policy::default()
        };
        assert_eq!(policy.digest("u:p"), "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
        let ids = policy
            .authenticate("digest", Some(b"super:secret"), "127.0.0.1")
            .unwrap();
        assert_eq!(ids[0], Id::new("super", ""));
        assert_eq!(
            policy
                .authenticate("digest", Some(b"super:guess"), "127.0.0.1")
                .unwrap()
                .len(),
            1
        );
        assert_eq!(policy.authenticate("digest", None, "127.0.0.1"), None);
        assert_eq!(policy.authenticate("world", Some(b"x"), "127.0.0.1"), None);
    }

    #[test]
    fn matching() {
        let policy = Policy::default();
        let ids = [Id::new("ip", "127.0.0.1"), Id::new("digest", "u:h")];
        assert!(authorize(&policy, &[], 31, &ids));
        assert!(authorize(&policy, &[entry(1, "world", "anyone")], 1 | 16, &[]));
        assert!(!authorize(&policy, &[entry(1, "world", "anyone")], 2, &ids));
        assert!(authorize(&policy, &[entry(2, "digest", "u:h")], 2, &ids));
        assert!(!authorize(&policy, &[entry(2, "digest", "u:i")], 2, &ids));
        assert!(authorize(&policy, &[entry(2, "ip", "127.0.0.0/8")], 2, &ids));
        assert!(!authorize(&policy, &[entry(2, "ip", "128.0.0.0/8")], 2, &ids));
        assert!(authorize(
            &policy,
            &[entry(2, "digest", "x:y")],
            4,
            &[Id::new("super", "")]
        ));
    }

    #[test]
    fn addresses() {
        for good in [
            "1.2.3.4",
            "1.2.3.4/0",
            "1.2.3.4/32",
            "::1",
            "::",
            "fe80::1/64",
            "1:2:3:4:5:6:7:8",
        ] {
            assert!(ip::is_valid(good), "{good}");
        }
        for bad in [
            "",
            "1.2.3",
            "1.2.3.256",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "1.2.3.4/",
            ":::",
            "1::2::3",
            "12345::",
            "1:2:3:4:5:6:7::8",
        ] {
            assert!(!ip::is_valid(bad), "{bad}");
        }
        assert!(ip::matches("0:0:0:0:0:0:0:1", "::1"));
        assert!(ip::matches("10.1.2.3", "10.1.2.0/25"));
        assert!(!ip::matches("10.1.2.200", "10.1.2.0/25"));
        assert!(!ip::matches("10.1.2.3", "::1"));
    }

    #[test]
    fn fix_up() {
        let policy = Policy::default();
        let request = |scheme: Option<&'static str>, id: Option<&'static str>| AclRequest {
            perms: 31,
            scheme: scheme.map(Into::into),
            id: id.map(Into::into),
        };
        let fixed = |entries: &[AclRequest<'_>], ids: &[Id]| policy.fix_up(Some(entries), ids);
        let world = request(Some("world"), Some("anyone"));
        assert_eq!(fixed(&[world.clone(), world.clone()], &[]), Ok(vec![Acl::anyone(31)]));
        let mine = [Id::new("ip", "127.0.0.1"), Id::new("digest", "u:h")];
        assert_eq!(
            fixed(&[request(Some("auth"), Some(""))], &mine),
            Ok(vec![entry(31, "digest", "u:h")])
        );
        assert_eq!(
            fixed(&[request(Some("world"), None)], &mine),
            Err(ErrorCode::MarshallingError)
        );
        let invalid = [
            vec![],
            vec![request(Some("auth"), Some(""))],
            vec![request(None, Some("x"))],
            vec![request(Some("world"), Some("me"))],
            vec![request(Some("digest"), Some("nocolon"))],
            vec![request(Some("digest"), Some("a:"))],
            vec![request(Some("x509"), Some("CN=a"))],
            vec![request(Some("ip"), Some("1.2.3"))],
        ];
        for entries in invalid {
            assert_eq!(fixed(&entries, &mine[..1]), Err(ErrorCode::InvalidAcl), "{entries:?}");
        }
        assert_eq!(policy.fix_up(None, &mine), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn masks_hide_hashes() {
        assert_eq!(
            masked(&[entry(1, "digest", "u:h"), entry(1, "ip", "::1")]),
            [entry(1, "digest", "u:x"), entry(1, "ip", "::1")]
        );
    }
}
