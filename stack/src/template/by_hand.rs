//! What a file adds to the templates as raw CloudFormation, and what it changes of them by JSON Patch.
//! The result is checked like everything else: the checks read templates.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{PatchOperation, patch};
use proxy_config::suggest;
use serde_json::{Map, Value, json};

use super::{Resource, Stack, Template};
use crate::environment::by_hand::{Op, Operation, RawResource};
use crate::estate::EstatePlan;

/// In a resource's metadata: somebody wrote it.
pub const MARK: &str = "WrittenByHand";

/// Something of `resources` or `patches` that does not fit the templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The key of the file: `patches.data.Database[0]`.
    pub key: String,
    pub message: String,
    pub hint: String,
}

/// Adds and changes what the plan's file says; everything that does not fit, at once.
pub(super) fn apply(templates: &mut Vec<Template>, plan: &EstatePlan) -> Result<(), Vec<Unfit>> {
    let mut unfit = Vec::new();
    for (stack, resources) in &plan.estate.resources {
        let template = template_of(templates, plan, *stack);
        for (id, raw) in resources {
            if template.resources.contains_key(id) {
                unfit.push(Unfit {
                    key: format!("resources.{}.{id}", stack.word()),
                    message: format!("the stack has a resource `{id}` of its own"),
                    hint: "choose another name, or change that one with `patches`".to_owned(),
                });
                continue;
            }
            template.add(id, resource(raw));
        }
    }
    for (stack, changes) in &plan.estate.patches {
        let found = templates.iter_mut().find(|template| template.stack == *stack);
        let Some(template) = found else {
            unfit.push(Unfit {
                key: format!("patches.{}", stack.word()),
                message: format!("this environment has no stack `{}`", stack.word()),
                hint: "`forebay synth` lists its stacks".to_owned(),
            });
            continue;
        };
        for (id, operations) in changes {
            unfit.extend(change(template, id, operations).err());
        }
    }
    if unfit.is_empty() { Ok(()) } else { Err(unfit) }
}

/// The template of a stack; one that the environment would not have by itself is begun.
fn template_of<'a>(
    templates: &'a mut Vec<Template>,
    plan: &EstatePlan,
    stack: Stack,
) -> &'a mut Template {
    let place = templates.iter().position(|template| template.stack >= stack);
    let place = place.unwrap_or(templates.len());
    if templates.get(place).is_none_or(|template| template.stack != stack) {
        templates.insert(place, Template::new(plan, stack, "what the file adds."));
    }
    &mut templates[place]
}

fn resource(raw: &RawResource) -> Resource {
    let map = |values: &BTreeMap<String, Value>| -> Map<String, Value> {
        values.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let mut metadata = map(&raw.metadata);
    metadata.entry("Why").or_insert_with(|| "written in the environment's file".into());
    metadata.insert(MARK.to_owned(), true.into());
    Resource {
        kind: raw.kind.clone().into(),
        metadata,
        depends_on: raw.depends_on.clone(),
        deletion_policy: raw.deletion_policy,
        update_replace_policy: raw.update_replace_policy,
        creation_policy: raw.creation_policy.clone(),
        update_policy: raw.update_policy.clone(),
        properties: if raw.properties.is_empty() {
            Value::Null
        } else {
            map(&raw.properties).into()
        },
    }
}

/// Changes one resource, operation by operation, or not at all.
fn change(template: &mut Template, id: &str, operations: &[Operation]) -> Result<(), Unfit> {
    let key = format!("patches.{}.{id}", template.stack.word());
    let unfit =
        |key: String, message: String, hint: &str| Unfit { key, message, hint: hint.to_owned() };
    let Some(old) = template.resources.get(id) else {
        let names: Vec<&str> = template.resources.keys().map(String::as_str).collect();
        let message = format!("the stack `{}` has no resource `{id}`", template.stack.word());
        let hint = match suggest::closest(id, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "its template, from `forebay synth`, has the names".to_owned(),
        };
        return Err(unfit(key, message, &hint));
    };
    let mut value = json!(old);
    for (index, operation) in operations.iter().enumerate() {
        let key = format!("{key}[{index}]");
        let done = operation_of(operation).and_then(|operation| {
            patch(&mut value, &[operation]).map_err(|error| error.kind.to_string())
        });
        if let Err(message) = done {
            let what = format!("cannot {} `{}`: {message}", operation.op.word(), operation.path);
            let hint =
                format!("`forebay explain {}/{id}` shows the resource", template.stack.word());
            return Err(unfit(key, what, &hint));
        }
    }
    if value["Type"] != old.kind.as_ref() {
        let hint = "another type is another resource: write it under `resources`";
        return Err(unfit(key, "the type of a resource cannot be changed".to_owned(), hint));
    }
    let done: Vec<String> =
        operations.iter().map(|it| format!("{} {}", it.op.word(), it.path)).collect();
    let mut changed: Resource = serde_json::from_value(value).map_err(|error| {
        let hint = "beside `Properties` there are DependsOn, Metadata and the policies";
        unfit(key, format!("what comes of it is no resource: {error}"), hint)
    })?;
    changed.metadata.insert("Patched".to_owned(), json!(done));
    template.resources.insert(id.to_owned(), changed);
    Ok(())
}

/// The operation as the library knows it. The error says what is wrong with its pointers.
fn operation_of(of: &Operation) -> Result<PatchOperation, String> {
    let pointer = |text: &str| PointerBuf::parse(text).map_err(|error| error.to_string());
    let path = pointer(&of.path)?;
    let from = pointer(of.from.as_deref().unwrap_or_default())?;
    let value = of.value.clone().unwrap_or_default();
    Ok(match of.op {
        Op::Add => PatchOperation::Add(json_patch::AddOperation { path, value }),
        Op::Remove => PatchOperation::Remove(json_patch::RemoveOperation { path }),
        Op::Replace => PatchOperation::Replace(json_patch::ReplaceOperation { path, value }),
        Op::Move => PatchOperation::Move(json_patch::MoveOperation { from, path }),
        Op::Copy => PatchOperation::Copy(json_patch::CopyOperation { from, path }),
        Op::Test => PatchOperation::Test(json_patch::TestOperation { path, value }),
    })
}
