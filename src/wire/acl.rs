//! Access control entries and identities (`ACL`, `Id`).

use super::jute::{Decoded, Reader, Text, Writer};

/// READ.
pub const READ: i32 = 1;
/// WRITE.
pub const WRITE: i32 = 2;
/// CREATE (a child).
pub const CREATE: i32 = 4;
/// DELETE (a child).
pub const DELETE: i32 = 8;
/// ADMIN.
pub const ADMIN: i32 = 16;
/// Everything.
pub const ALL: i32 = 31;

/// An entry as a request carries it: any field may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclRequest<'a> {
    /// Permission bits; not range-checked.
    pub perms: i32,
    /// The identity's scheme.
    pub scheme: Option<Text<'a>>,
    /// The identity.
    pub id: Option<Text<'a>>,
}

impl<'a> AclRequest<'a> {
    /// Reads one entry.
    pub fn read(r: &mut Reader<'a>) -> Decoded<AclRequest<'a>> {
        Ok(AclRequest {
            perms: r.int()?,
            scheme: r.text()?,
            id: r.text()?,
        })
    }
}

/// An identity: a scheme and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// world, digest, ip, super …
    pub scheme: String,
    /// The name.
    pub id: String,
}

impl Id {
    /// Builds one.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Id {
        Id {
            scheme: scheme.into(),
            id: id.into(),
        }
    }
}

/// An entry as a node holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acl {
    /// Permission bits.
    pub perms: i32,
    /// Whose.
    pub id: Id,
}

impl Acl {
    /// world:anyone with these permissions.
    pub fn anyone(perms: i32) -> Acl {
        Acl {
            perms,
            id: Id::new("world", "anyone"),
        }
    }

    /// Reads one entry; a null text reads as empty, as no stored entry has one.
    pub fn read(r: &mut Reader<'_>) -> Decoded<Acl> {
        let AclRequest { perms, scheme, id } = AclRequest::read(r)?;
        Ok(Acl {
            perms,
            id: Id::new(scheme.unwrap_or_default(), id.unwrap_or_default()),
        })
    }

    /// Appends it.
    pub fn write(&self, w: &mut Writer<'_>) {
        w.int(self.perms);
        w.text(&self.id.scheme);
        w.text(&self.id.id);
    }
}

/// Reads a list; null reads as empty.
pub fn read_list(r: &mut Reader<'_>) -> Decoded<Vec<Acl>> {
    Ok(r.vector(Acl::read)?.unwrap_or_default())
}

/// Appends a list.
pub fn write_list(w: &mut Writer<'_>, list: &[Acl]) {
    w.vector(list.iter(), |w, acl| acl.write(w));
}
