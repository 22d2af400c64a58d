//! The items of a batch and their results: made of the single requests and answers, from which they differ in what stands
//! in a path or a header there.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use crate::batches::ItemType;
use crate::dto::{
    AccountActItem, CalendarRequest, CaptureRequest, CashRequest, ClosePeriodRequest, EntryRequest, FeeRuleRequest,
    HoldRequest, LimitsRequest, OpenAccountRequest, PreferencesRequest, ReverseRequest, TransferRequest,
    TransferUpToRequest, VoidRequest,
};
use crate::problem::Document as ProblemDocument;
use crate::verdict::Accepted;

fn schema<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap_or_default()
}

/// The schema of an item of this type: that of its request, with the type and a key, and with what its path would name.
fn item(of: ItemType) -> Value {
    let (mut schema, about) = match of {
        ItemType::Transfer => (schema::<TransferRequest<'_>>(), None),
        ItemType::TransferUpTo => (schema::<TransferUpToRequest<'_>>(), None),
        ItemType::TopUp | ItemType::Withdrawal => (schema::<CashRequest<'_>>(), None),
        ItemType::Entry => (schema::<EntryRequest<'_>>(), None),
        ItemType::Hold => (schema::<HoldRequest<'_>>(), None),
        ItemType::Capture => (schema::<CaptureRequest<'_>>(), Some("hold")),
        ItemType::Void => (schema::<VoidRequest<'_>>(), Some("hold")),
        ItemType::Reversal => (schema::<ReverseRequest<'_>>(), Some("entry")),
        ItemType::OpenAccount => (schema::<OpenAccountRequest<'_>>(), None),
        ItemType::FreezeAccount | ItemType::UnfreezeAccount | ItemType::CloseAccount => {
            (schema::<AccountActItem<'_>>(), None)
        }
        ItemType::SetLimits => (schema::<LimitsRequest<'_>>(), Some("owner")),
        ItemType::PublishCalendar => (schema::<CalendarRequest<'_>>(), None),
        ItemType::SetFeeRule => (schema::<FeeRuleRequest<'_>>(), None),
        ItemType::ClosePeriod => (schema::<ClosePeriodRequest<'_>>(), None),
        ItemType::SetPreferences => (schema::<PreferencesRequest>(), Some("owner")),
    };
    let mut required = vec![json!("type")];
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("type".into(), json!({ "type": "string", "const": of.name() }));
        properties.insert(
            "idempotency_key".into(),
            json!({
                "type": "string",
                "description": "The identity of the command, if it has no `id`. The same key in the header of a single \
                                request stands for the same command.",
                "pattern": "^[ -~]{1,256}$",
            }),
        );
        if let Some(about) = about {
            let named = if about == "owner" { "Customer" } else { "CommandId" };
            properties.insert(about.into(), reference(named));
            required.push(json!(about));
        }
        if of == ItemType::Reversal {
            // An entry is reversed in part by a request of its own.
            properties.remove("postings");
        }
    }
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".into(), json!(format!("The command `{}`.", of.name())));
        if let Some(Value::Array(more)) = members.remove("required") {
            required.extend(more);
        }
        members.insert("required".into(), required.into());
    }
    schema
}

/// A reference to a component.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schemas of items and results, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let name = |of: &ItemType| format!("BatchItem.{}", of.name());
    let mut schemas: Map<_, _> = ItemType::ALL.iter().map(|of| (name(of), item(*of))).collect();
    let mapping: Map<_, _> = ItemType::ALL
        .iter()
        .map(|of| (of.name().to_owned(), json!(format!("#/components/schemas/{}", name(of)))))
        .collect();
    schemas.insert(
        "BatchItem".into(),
        json!({
            "description": "One command of a batch: its type and the members of its own request, with an `id` or an \
                            `idempotency_key`.",
            "oneOf": ItemType::ALL.iter().map(|of| reference(&name(of))).collect::<Vec<_>>(),
            "discriminator": { "propertyName": "type", "mapping": mapping },
        }),
    );
    let replayed = json!({
        "type": "boolean",
        "const": true,
        "description": "Stands on the verdict of an earlier request with the same identity and content.",
    });
    schemas.insert(
        "BatchResult".into(),
        json!({
            "description": "The verdict of one command of a batch: what its own request would have answered, with its \
                            status. Pointers begin at the batch.",
            "oneOf": [
                {
                    "allOf": [reference(&Accepted::name())],
                    "properties": { "status": { "const": 201 }, "replayed": replayed },
                    "required": ["status", "verdict"],
                },
                {
                    "allOf": [reference(&ProblemDocument::name())],
                    "properties": { "replayed": replayed },
                    "required": ["code"],
                },
            ],
        }),
    );
    schemas
}
