//! Are the numbers right that stand in environ?

use super::decimal;

#[test]
fn decimal_digits() {
    for (number, text) in
        [(0, "0"), (7, "7"), (10, "10"), (65535, "65535"), (u64::MAX, "18446744073709551615")]
    {
        let mut buffer = [0u8; 20];
        assert_eq!(decimal(number, &mut buffer), text.as_bytes());
    }
}
