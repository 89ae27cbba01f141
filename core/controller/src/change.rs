//! Changes of the configuration.

use crate::request::{Change, ChangeOperation};
use hakudo_cib::{Document, Element, Node};

/// Reads a configuration; a status in it is left out.
///
/// # Errors
/// Where the text is no configuration, with the place.
pub(crate) fn read(text: &str) -> Result<Document, String> {
    let mut document = Document::parse(text).map_err(|error| error.to_string())?;
    if document.root().name() != "cib" {
        return Err(format!("a configuration begins with <cib>, not with <{}>", document.root().name()));
    }
    if document.section(&["configuration"]).is_none() {
        return Err("there is no <configuration> in this <cib>".to_owned());
    }
    document.root_mut().remove_children(|child| child.name() == "status");
    Ok(document)
}

/// `admin_epoch`, `epoch`, `num_updates`.
pub(crate) fn version(document: &Document) -> (u64, u64, u64) {
    let number = |name| document.root().attribute(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    (number("admin_epoch"), number("epoch"), number("num_updates"))
}

/// The configuration after a change.
///
/// # Errors
/// What is wrong with the change; all of it is refused then.
pub(crate) fn apply(before: &Document, change: &Change) -> Result<Document, String> {
    let old = version(before);
    if let Some(wanted) = change.if_version
        && wanted != old
    {
        return Err(format!(
            "the configuration is now version {}.{}.{}, and the change was made for {}.{}.{}: read it again and repeat",
            old.0, old.1, old.2, wanted.0, wanted.1, wanted.2
        ));
    }
    let mut document = before.clone();
    for (number, operation) in change.operations.iter().enumerate() {
        step(&mut document, operation).map_err(|error| format!("step {}: {error}", number + 1))?;
    }
    document.root_mut().remove_children(|child| child.name() == "status");
    if document.root().name() != "cib" || document.section(&["configuration"]).is_none() {
        return Err("nothing would be left of the configuration".to_owned());
    }
    let new = version(&document);
    let (admin, epoch) = if new.0 > old.0 { (new.0, new.1) } else { (old.0, new.1.max(old.1) + 1) };
    let root = document.root_mut();
    root.set("admin_epoch", &admin.to_string());
    root.set("epoch", &epoch.to_string());
    root.set("num_updates", "0");
    Ok(document)
}

fn element(xml: &str) -> Result<Element, String> {
    Ok(Document::parse(xml).map_err(|error| error.to_string())?.root().clone())
}

fn step(document: &mut Document, operation: &ChangeOperation) -> Result<(), String> {
    match operation {
        ChangeOperation::Replace { xml } => {
            let new = element(xml)?;
            if new.name() == "cib" {
                *document = Document::new(new);
                return Ok(());
            }
            match same(document.root_mut(), new.name(), new.id()) {
                Some(place) => *place = new,
                None => return Err(format!("there is no <{} id=\"{}\"> to replace", new.name(), new.id())),
            }
            Ok(())
        }
        ChangeOperation::Create { parent, xml } => {
            let new = element(xml)?;
            if !new.id().is_empty() && document.root().descendants().any(|other| other.id() == new.id()) {
                return Err(format!("there is an element with id \"{}\" already", new.id()));
            }
            only(document.root_mut(), parent)?.push(new);
            Ok(())
        }
        ChangeOperation::Modify { xml, create_in } => {
            let new = element(xml)?;
            if let Some(place) = same(document.root_mut(), new.name(), new.id()) {
                merge(place, &new);
                return Ok(());
            }
            match create_in {
                Some(parent) => only(document.root_mut(), parent)?.push(new),
                None => return Err(format!("there is no <{} id=\"{}\"> to modify", new.name(), new.id())),
            }
            Ok(())
        }
        ChangeOperation::Delete { xpath, or_nothing } => {
            let path = Path::parse(xpath)?;
            let removed = path.remove(document.root_mut());
            if removed == 0 && !or_nothing { Err(format!("{xpath} finds nothing")) } else { Ok(()) }
        }
    }
}

fn same<'a>(place: &'a mut Element, name: &str, id: &str) -> Option<&'a mut Element> {
    if place.name() == name && place.id() == id {
        return Some(place);
    }
    place.nodes_mut().iter_mut().find_map(|node| match node {
        Node::Element(child) if child.descendants().any(|e| e.name() == name && e.id() == id) => {
            same(std::sync::Arc::make_mut(child), name, id)
        }
        _ => None,
    })
}

fn merge(place: &mut Element, new: &Element) {
    for attribute in new.attributes() {
        place.set(&attribute.name, &attribute.value);
    }
    for child in new.children() {
        match place.find_child_mut(|old| old.name() == child.name() && old.id() == child.id()) {
            Some(old) => merge(old, child),
            None => place.push(child.clone()),
        }
    }
}

fn only<'a>(root: &'a mut Element, xpath: &str) -> Result<&'a mut Element, String> {
    let path = Path::parse(xpath)?;
    path.first(root).ok_or_else(|| format!("{xpath} finds nothing"))
}

/// `/cib/configuration/resources`, `//resources`, `//primitive[@id='a']`.
struct Path {
    anywhere: bool,
    steps: Vec<(String, Option<(String, String)>)>,
}

impl Path {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is not understood as a place: write /a/b, //a or //a[@id='x']");
        let (anywhere, rest) = match text.strip_prefix("//") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('/').ok_or_else(wrong)?),
        };
        let mut steps = Vec::new();
        for step in rest.split('/') {
            let Some((name, predicate)) = step.split_once('[') else {
                steps.push((step.to_owned(), None));
                continue;
            };
            let inner = predicate.strip_prefix('@').and_then(|p| p.strip_suffix(']')).ok_or_else(wrong)?;
            let (attribute, value) = inner.split_once('=').ok_or_else(wrong)?;
            let value = value.trim_matches(['\'', '"']);
            steps.push((name.to_owned(), Some((attribute.to_owned(), value.to_owned()))));
        }
        if steps.iter().any(|(name, _)| name.is_empty()) { Err(wrong()) } else { Ok(Self { anywhere, steps }) }
    }

    fn fits(&self, depth: usize, element: &Element) -> bool {
        let (name, predicate) = &self.steps[depth];
        (name == "*" || element.name() == name)
            && predicate.as_ref().is_none_or(|(name, value)| element.attribute(name) == Some(value))
    }

    fn first<'a>(&self, root: &'a mut Element) -> Option<&'a mut Element> {
        self.first_from(0, root)
    }

    fn found_below(&self, depth: usize, element: &Element) -> bool {
        let here = self.fits(depth, element)
            && (depth + 1 == self.steps.len() || element.children().any(|child| self.found_below(depth + 1, child)));
        here || (depth == 0 && self.anywhere && element.children().any(|child| self.found_below(0, child)))
    }

    fn first_from<'a>(&self, depth: usize, element: &'a mut Element) -> Option<&'a mut Element> {
        let fits = self.fits(depth, element);
        if fits && depth + 1 == self.steps.len() {
            return Some(element);
        }
        let deeper = depth + 1;
        let down = fits && element.children().any(|child| self.found_below(deeper, child));
        let next = if down { deeper } else { 0 };
        if !down && !(depth == 0 && self.anywhere) {
            return None;
        }
        let child = element.find_child_mut(|child| self.found_below(next, child))?;
        self.first_from(next, child)
    }

    fn remove(&self, element: &mut Element) -> usize {
        self.remove_from(0, element)
    }

    fn remove_from(&self, depth: usize, element: &mut Element) -> usize {
        let mut removed = 0;
        if self.fits(depth, element) && depth + 1 < self.steps.len() {
            let last = depth + 2 == self.steps.len();
            if last {
                removed += element.remove_children(|child| self.fits(depth + 1, child));
            } else {
                removed += element.children_mut().map(|child| self.remove_from(depth + 1, child)).sum::<usize>();
            }
        }
        if depth == 0 && self.anywhere {
            if self.steps.len() == 1 {
                removed += element.remove_children(|child| self.fits(0, child));
            }
            removed += element.children_mut().map(|child| self.remove_from(0, child)).sum::<usize>();
        }
        removed
    }
}
