//! CloudFormation's own functions, and the values templates are made of.

use serde_json::{Value, json};

use super::Stack;
use crate::estate::EstatePlan;

/// Another resource of the same template, or a parameter.
pub fn reference(id: &str) -> Value {
    json!({ "Ref": id })
}

/// An attribute of another resource of the same template.
pub fn attribute(id: &str, name: &str) -> Value {
    json!({ "Fn::GetAtt": [id, name] })
}

/// What another stack of the estate exports.
pub fn import(plan: &EstatePlan, stack: Stack, output: &str) -> Value {
    json!({ "Fn::ImportValue": format!("{}-{}-{output}", plan.name, stack.word()) })
}

/// Text in which CloudFormation fills in `${…}`.
pub fn sub(text: impl Into<String>) -> Value {
    json!({ "Fn::Sub": text.into() })
}

/// A text of several lines, one to a line of the template, so that a difference shows which changed.
pub fn lines(text: &str) -> Value {
    let lines: Vec<&str> = text.split('\n').collect();
    json!({ "Fn::Join": ["\n", lines] })
}

/// The one tag a resource is found by in the console; the others come with the stack.
pub fn named(name: &str) -> Value {
    json!([{ "Key": "Name", "Value": name }])
}

/// `${AWS::Partition}` and the like in an ARN.
pub fn arn(rest: &str) -> Value {
    sub(format!("arn:${{AWS::Partition}}:{rest}"))
}
