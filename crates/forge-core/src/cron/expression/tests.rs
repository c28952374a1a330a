use super::*;

fn same(text: &str, written: &str) {
    assert_eq!(normalise(text).as_deref(), Ok(written), "{text}");
}

fn wrong(text: &str, parts: &[&str]) {
    let why = normalise(text).unwrap_err();
    for part in parts {
        assert!(why.contains(part), "{text}: {why}");
    }
}

#[test]
fn five_and_six_parts_become_numbers() {
    same("0 9 * * 1-5", "0 0 9 * * 1-5");
    same("  30 0 9 * * *  ", "30 0 9 * * *");
    same("*/15 * ? jan,Dec mon-FRI", "0 */15 * * 1,12 1-5");
    same("0 0 * * FRI-SUN", "0 0 0 * * 5-7");
    same("0 0 * * SUN,7,0", "0 0 0 * * 0,7,0");
    same("0-30/10,45 1-5 1,15 * *", "0 0-30/10,45 1-5 1,15 * *");
    same("0 12 L * ?", "0 0 12 L * *");
    same("0 12 lw,15w * *", "0 0 12 LW,15W * *");
    same("0 12 * * fri#2,MONL,0#L", "0 0 12 * * 5#2,1#L,0#L");
    same("@Daily", "0 0 0 * * *");
    same("0 0 29 2 *", "0 0 0 29 2 *");
    same("0 0 30 2,4 *", "0 0 0 30 2,4 *");
    same("0 0 30 2 MON", "0 0 0 30 2 1");
    same("0 0 */30 2 *", "0 0 0 */30 2 *");
}

#[test]
fn a_mistake_is_named_with_its_part_what_is_allowed_and_what_was_meant() {
    wrong("", &["missing", "minute hour day-of-month"]);
    wrong("* * *", &["3 parts", "minute hour day-of-month"]);
    wrong("hourly", &["one part"]);
    wrong("0 0 9 * * * 2027", &["7 parts", "year"]);
    wrong("@reboot", &["`@hourly`"]);
    wrong("60 * * * *", &["minute", "60 is not 0 to 59", "did you mean `59`"]);
    wrong("0 24 * * *", &["hour", "0 to 23", "`23`"]);
    wrong("0 0 0 * *", &["day of month", "1 to 31", "`1`"]);
    wrong("0 0 * 13 *", &["month", "JAN to DEC", "`12`"]);
    wrong("0 0 * Sept *", &["month", "did you mean `SEP`"]);
    wrong("0 0 * * Monday", &["day of week", "SUN to SAT", "did you mean `MON`"]);
    wrong("0 0 * * 8", &["day of week", "0 to 7", "`6`"]);
    wrong("5/10 * * * *", &["minute", "`5-59/10`"]);
    wrong("/5 * * * *", &["`*/5`"]);
    wrong("*/0 * * * *", &["step of 0", "`*/1`"]);
    wrong("*/60 * * * *", &["step of 60", "`0`"]);
    wrong("*/x * * * *", &["whole number"]);
    wrong("0 22-4 * * *", &["22 is after 4", "`22-23,0-4`"]);
    wrong("1,,2 * * * *", &["comma"]);
    wrong("1, * * * *", &["comma", "`1`"]);
    wrong("*,5 * * * *", &["every value already"]);
    wrong("-5 * * * *", &["minute"]);
    wrong("? * * * *", &["minute"]);
    wrong("0 0 L-3 * *", &["from the end"]);
    wrong("0 0 * * L", &["`FRIL`"]);
    wrong("0 0 * * FRI#6", &["1 to 5"]);
    wrong("0 0 15# * *", &["day of month"]);
    wrong("0 0 30 2 *", &["never", "29 days"]);
    wrong("0 0 31 4,6,9,11 *", &["never", "30 days"]);
    wrong("0 0 31W 2-2 ?", &["never"]);
    wrong(&"9".repeat(501), &["501 bytes", "..."]);
    wrong("99999999999999999999 * * * *", &["0 to 59"]);
    wrong("ä * * ö *", &["minute", "`ä`"]);
}

#[test]
fn pieces_of_a_day() {
    for (ms, written) in [
        (1_000, "* * * * * *"),
        (15_000, "*/15 * * * * *"),
        (60_000, "0 * * * * *"),
        (300_000, "0 */5 * * * *"),
        (3_600_000, "0 0 * * * *"),
        (21_600_000, "0 0 */6 * * *"),
        (86_400_000, "0 0 0 * * *"),
    ] {
        assert_eq!(every(ms).as_deref(), Ok(written));
        assert_eq!(normalise(written).as_deref(), Ok(written));
    }
    for (ms, near) in
        [(7_000, "\"6s\""), (420_000, "\"6m\""), (90_000, "\"1m\""), (18_000_000, "\"4h\""), (172_800_000, "\"1d\"")]
    {
        assert!(every(ms).unwrap_err().contains(near), "{ms}: {}", every(ms).unwrap_err());
    }
    assert!(every(0).is_err() && every(1_500).is_err());
}

#[test]
fn times_of_day() {
    assert_eq!(daily_at("09:00").as_deref(), Ok("0 0 9 * * *"));
    assert_eq!(daily_at("23:59:30").as_deref(), Ok("30 59 23 * * *"));
    for text in ["", "9", "9:00", "24:00", "09:60", "09:00:60", "09:00:00:00", "+9:00", "09.00", "9 am"] {
        assert!(daily_at(text).unwrap_err().contains("09:00"), "{text}");
    }
}

#[test]
fn names_of_zones() {
    for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
        assert_eq!(zone_name(name), Ok(()));
    }
    for name in ["", "+02:00", "Europe/", "Europe//Berlin", "Europa Berlin", "/etc/localtime", "../UTC"] {
        assert!(zone_name(name).unwrap_err().contains("Europe/Berlin"), "{name}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let letters: Vec<char> = "0123456789*/-,#?LWLSUNMONJANFEB @äé\u{1f980}\t\n".chars().collect();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |below: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        usize::try_from(dice % below as u64).unwrap_or_default()
    };
    let mut accepted = 0;
    for _ in 0..10_000 {
        let length = roll(24);
        let text: String = (0..length).map(|_| letters[roll(letters.len())]).collect();
        let good = ["*", "*/5", "1-3", "2,4", "1", "?"];
        let five: Vec<String> = (0..5 + roll(2))
            .map(|_| match roll(4) {
                0 => (0..=roll(4)).map(|_| letters[roll(32)]).filter(|c| *c != ' ').collect(),
                _ => good[roll(good.len())].to_owned(),
            })
            .collect();
        for text in [text, five.join(" ")] {
            if let Ok(written) = normalise(&text) {
                accepted += 1;
                // What was written once is read as it is.
                assert_eq!(normalise(&written).as_deref(), Ok(written.as_str()), "{text}");
            }
            let _ = (daily_at(&text), zone_name(&text));
        }
    }
    assert!(accepted > 0);
}
