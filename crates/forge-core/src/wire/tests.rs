use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn check<T: WireType + PartialEq + std::fmt::Debug>(value: T, json: serde_json::Value) {
    let mut buffer = Vec::new();
    write_json(&value, &mut buffer).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&buffer).unwrap(), json);
    assert_eq!(read_json::<T>(&buffer).unwrap(), value);
}

fn refused<T: WireType + std::fmt::Debug>(json: &str) -> String {
    read_json::<T>(json.as_bytes()).unwrap_err().message().to_owned()
}

#[test]
fn wide_integers_are_strings_wherever_they_stand() {
    check(i64::MAX, json!("9223372036854775807"));
    check(u64::MAX, json!("18446744073709551615"));
    check(vec![Some(1_i64), None], json!(["1", null]));
    check((1_i64, "a".to_owned(), 2_i32), json!(["1", "a", 2]));
    check(BTreeMap::from([("n".to_owned(), -1_i64)]), json!({"n": "-1"}));
    assert_eq!(read_json::<i64>(b"7").unwrap(), 7);
    for text in ["1.5", "\"1.5\"", "\"\"", "9223372036854775808", "true", "null"] {
        refused::<i64>(text);
    }
    refused::<u64>("-1");
}

#[test]
fn bytes_are_base64() {
    check(vec![0_u8, 255, 10], json!("AP8K"));
    assert!(refused::<Vec<u8>>("\"not base64!\"").contains("base64"));
}

/// serde_json's fast way of reading them is off by the last bit for one in ten.
#[test]
fn numbers_come_back_as_they_were() {
    check(31.245270191439438, json!(31.245270191439438));
    let mut number = 0.1_f64;
    for _ in 0..10_000 {
        number = (number * 9301.0 + 49297.0) % 233280.0 / 2332.8;
        let mut text = Vec::new();
        write_json(&number, &mut text).unwrap();
        let again: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((read_json::<f64>(&text).unwrap(), again.as_f64()), (number, Some(number)));
        assert_eq!(again.to_string().as_bytes(), text);
    }
}

#[test]
fn what_json_cannot_say_is_an_error_not_null() {
    assert!(write_json(&f64::NAN, &mut Vec::new()).is_err());
    assert!(write_json(&vec![f32::INFINITY], &mut Vec::new()).is_err());
}

#[test]
fn json_values_pass_untouched() {
    check(json!({"n": 9007199254740993_i64, "a": [1, 2.5, null]}), json!({"n": 9007199254740993_i64, "a": [1, 2.5, null]}));
}

#[test]
fn nothing_may_follow_the_value() {
    refused::<i32>("1 2");
}

#[test]
fn deep_json_is_refused_not_overflowed() {
    let deep = "[".repeat(100_000);
    refused::<serde_json::Value>(&deep);
}

#[test]
fn a_tuple_has_exactly_its_items() {
    refused::<(i32, i32)>("[1]");
    refused::<(i32, i32)>("[1,2,3]");
}

mod one_parameter {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Args(Option<i64>);

    impl WireType for Args {
        fn wire_type(_: &mut TypeRegistry) -> TypeRef {
            TypeRef::Null
        }
        fn wire_serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            single::serialize("cardId", &self.0, s)
        }
        fn wire_deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            single::deserialize("cardId", d).map(Args)
        }
    }

    #[test]
    fn is_an_object_with_one_field() {
        check(Args(Some(5)), json!({"cardId": "5"}));
        assert_eq!(read_json::<Args>(b"{}").unwrap(), Args(None));
        assert!(refused::<Args>(r#"{"card_id": "5"}"#).contains("expected `cardId`"));
        assert!(refused::<Args>(r#"{"cardId": "5", "cardId": "5"}"#).contains("duplicate"));
        refused::<Args>("[]");
        refused::<Args>("");
    }
}

#[test]
fn nothing_is_an_object_without_fields() {
    let read = |json: &str| super::empty::deserialize(&mut serde_json::Deserializer::from_str(json));
    let mut json = Vec::new();
    super::empty::serialize(&mut serde_json::Serializer::new(&mut json)).unwrap();
    assert_eq!(json, b"{}");
    assert!(read("{}").is_ok() && read("null").is_ok());
    assert!(read(r#"{"a": 1}"#).unwrap_err().to_string().contains("unknown field `a`"));
    assert!(read("[]").is_err() && read("1").is_err());
}
