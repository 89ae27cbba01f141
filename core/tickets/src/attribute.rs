//! Names of a ticket's attributes.
//!
//! A cluster shows them as XML attributes of `<ticket_state>`, beside what it says of the ticket itself. So a name has to
//! be a name in XML, and none of those that the cluster reads: an attribute called `granted` would be a grant.

use thiserror::Error;

/// What `<ticket_state>` says of a ticket, and what would give it another name space.
const OF_THE_CLUSTER: [&str; 5] = ["id", "granted", "last-granted", "standby", "xmlns"];
/// What a group, or a boothd, keeps beside.
const OF_THE_GROUP: [&str; 4] = ["owner", "expires", "term", "booth-cfg-name"];

/// Why an attribute cannot have a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttributeNameError {
    /// The cluster says something else by it.
    #[error("'{0}' is no attribute that can be set: grant, revoke, standby and activate change it")]
    OfTheCluster(String),
    /// The group says something else by it.
    #[error("'{0}' is no attribute that can be set: the group of the ticket says something by it")]
    OfTheGroup(String),
    /// XML has no such name.
    #[error(
        "'{0}' is no name of an attribute: it begins with a letter or _, and letters, digits, '-', '_' and '.' follow"
    )]
    NoName(String),
}

/// Whether an attribute of a ticket that is granted by hand can have this name.
///
/// # Errors
/// Where it cannot.
pub fn check_attribute_name(name: &str) -> Result<(), AttributeNameError> {
    if OF_THE_CLUSTER.contains(&name) {
        Err(AttributeNameError::OfTheCluster(name.to_owned()))
    } else if !is_name(name) {
        Err(AttributeNameError::NoName(name.to_owned()))
    } else {
        Ok(())
    }
}

/// Whether an attribute of a ticket of a group can have this name.
///
/// # Errors
/// Where it cannot.
pub fn check_group_attribute_name(name: &str) -> Result<(), AttributeNameError> {
    if OF_THE_GROUP.contains(&name) {
        return Err(AttributeNameError::OfTheGroup(name.to_owned()));
    }
    check_attribute_name(name)
}

/// A name without a prefix ("Namespaces in XML 1.0", NCName).
fn is_name(name: &str) -> bool {
    let begins = |c: char| {
        matches!(c,
            'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
            | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
            | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
            | '\u{10000}'..='\u{EFFFF}')
    };
    let follows = |c: char| {
        begins(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
    };
    name.starts_with(begins) && name.chars().all(follows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hakudo_cib::Document;

    #[test]
    fn what_is_a_name_can_be_read_again_and_the_rest_cannot() {
        for name in ["a", "_a.b-c9", "größe", "状態", "xml-like", "e\u{301}"] {
            assert_eq!(check_group_attribute_name(name), Ok(()), "{name}");
            assert!(Document::parse(&format!("<cib {name}='1'/>")).is_ok(), "{name}");
        }
        for name in ["", "a b", "9a", "-a", "a/b", "a=b", "x:y", "a\u{B2}", "a'", "\u{24B6}"] {
            assert_eq!(check_attribute_name(name), Err(AttributeNameError::NoName(name.to_owned())), "{name}");
            assert!(Document::parse(&format!("<cib {name}='1'/>")).is_err(), "{name}");
        }
    }

    #[test]
    fn what_the_cluster_reads_is_no_attribute() {
        for name in ["id", "granted", "last-granted", "standby", "xmlns"] {
            assert_eq!(check_attribute_name(name), Err(AttributeNameError::OfTheCluster(name.to_owned())));
            assert!(check_group_attribute_name(name).is_err());
        }
        // By hand they can be set, as a boothd does that keeps its state in a cluster.
        for name in ["owner", "expires", "term", "booth-cfg-name"] {
            assert_eq!(check_attribute_name(name), Ok(()));
            assert_eq!(check_group_attribute_name(name), Err(AttributeNameError::OfTheGroup(name.to_owned())));
        }
    }
}
