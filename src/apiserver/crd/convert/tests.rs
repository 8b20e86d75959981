use super::*;

#[test]
fn lists_are_converted_in_parts_that_fit() {
    let of = |size: usize| json!({"data": "x".repeat(size)});
    let objects = [of(10), of(PART - 100), of(200), of(PART * 2), of(1), of(1)];
    assert_eq!(
        parts(&objects, vec![0, 1, 2, 3, 4, 5]),
        [vec![0, 1], vec![2], vec![3], vec![4, 5]]
    );
    assert_eq!(parts(&objects, vec![1, 4]), [vec![1, 4]]);
    assert_eq!(parts(&objects, vec![]), Vec::<Vec<usize>>::new());
}

#[test]
fn a_wrong_object_is_named_by_its_place() {
    let original = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}});
    let error = adopt(3, &original, json!({"apiVersion": "g/v1"}), "g/v2").unwrap_err();
    assert_eq!(
        error.message,
        "Internal error occurred: conversion webhook for g/v1, Kind=K returned invalid converted object at index 3: invalid groupVersion (expected g/v2, received g/v1)"
    );
}
