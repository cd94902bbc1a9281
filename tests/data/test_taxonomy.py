"""The reference files say what the design says, and a broken file is refused with every fault named."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from data.errors import BadInput
from data.taxonomy import REFERENCE, Taxonomy, load_taxonomy


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("taxonomy.toml", "policies.toml"):
        shutil.copy(REFERENCE / name, tmp_path / name)
    return tmp_path


def edited(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def pointers(folder: Path) -> set[str]:
    with pytest.raises(BadInput) as caught:
        load_taxonomy(folder)
    assert caught.value.code == "taxonomy_invalid"
    return {fault.pointer for fault in caught.value.faults}


def test_the_label_groups_have_the_sizes_and_order_of_the_design(taxonomy: Taxonomy) -> None:
    assert {group: len(codes) for group, codes in taxonomy.groups.items()} == {
        "verdict": 16,
        "kind": 6,
        "subject": 16,
    }
    assert taxonomy.verdicts == (
        "reasonable",
        "legal_route",
        "petition_route",
        "other_organ",
        "internal_management",
        "civil_or_market",
        "contrary_to_law",
        "settled_compensation",
        "public_morals",
        "secrecy_privacy",
        "improper_gain",
        "no_factual_basis",
        "excessive_demand",
        "repeat_no_new_facts",
        "harassment",
        "no_substance",
    )
    assert taxonomy.subjects[-1].code == "other"


def test_only_two_grounds_can_be_decided_at_intake(taxonomy: Taxonomy) -> None:
    assert [ground.code for ground in taxonomy.grounds if ground.decidable] == [
        "public_morals",
        "secrecy_privacy",
    ]
    assert {ground.form for ground in taxonomy.grounds} == {"超越职权范围型", "不合法合规型", "个人主观型"}
    assert taxonomy.ground("petition_route").intake == "needs_record"
    assert taxonomy.ground("improper_gain").intake == "no"


def test_every_ground_cites_a_policy_and_names_a_lawful_route(taxonomy: Taxonomy) -> None:
    for ground in taxonomy.grounds:
        assert all(taxonomy.policy(policy) for policy in ground.policies)
        assert ground.route.endswith("。")
        assert ground.meaning.endswith("。")


def test_only_emergency_and_self_harm_transfer_and_rudeness_protects_nobody(taxonomy: Taxonomy) -> None:
    assert {flag.code for flag in taxonomy.flags if flag.transfers} == {"emergency", "self_harm"}
    assert {flag.code for flag in taxonomy.flags if not flag.protective} == {"abusive_language"}


def test_what_was_not_read_is_not_called_verified(taxonomy: Taxonomy) -> None:
    unread = {policy.number or policy.title for policy in taxonomy.policies if not policy.verified}
    assert {"国办发〔2020〕53号", "国办函〔2025〕66号", "内政办发〔2022〕46号"} <= unread
    assert all(policy.in_force and policy.article for policy in taxonomy.policies if policy.verified)


def test_the_old_petition_regulation_ends_where_the_new_one_begins(taxonomy: Taxonomy) -> None:
    assert taxonomy.policy("petition-2005-35-3").until == date(2022, 5, 1)
    assert taxonomy.policy("petition-2022-35").in_force == date(2022, 5, 1)


def test_citations_read_as_a_notice_writes_them(taxonomy: Taxonomy) -> None:
    assert taxonomy.policy("petition-2022-35").citation == "《信访工作条例》第三十五条"
    assert taxonomy.policy("hotline-opinion-2025").citation == (
        "《国务院办公厅关于进一步规范和提升12345热线服务的意见》（国办函〔2025〕66号）"
    )


def test_names_and_lookups(taxonomy: Taxonomy) -> None:
    assert taxonomy.name("reasonable") == "合理"
    assert taxonomy.name("wage_arrears") == "拖欠工资"
    assert taxonomy.kind("report").zh == taxonomy.name("report") == "举报"
    assert taxonomy.subject("urban_rural").zh == "城乡建设"
    assert taxonomy.flag("self_harm").transfers
    for lookup in (
        taxonomy.ground,
        taxonomy.kind,
        taxonomy.subject,
        taxonomy.flag,
        taxonomy.policy,
        taxonomy.name,
    ):
        with pytest.raises(KeyError):
            lookup("nothing")


def test_the_version_follows_the_bytes_of_either_file(folder: Path) -> None:
    version = load_taxonomy(folder).version
    assert version == load_taxonomy().version
    edited(folder, "policies.toml", "[[policy]]", "[[policy]] ")
    assert load_taxonomy(folder).version != version


def test_all_faults_are_named_at_once(folder: Path) -> None:
    edited(
        folder,
        "taxonomy.toml",
        '"hotline-opinion-2020", "beijing-2021-11-3-2"',
        '"nowhere-1", "beijing-2021-11-3-2"',
    )
    edited(folder, "taxonomy.toml", 'intake = "needs_record"', 'intake = "perhaps"')
    edited(folder, "taxonomy.toml", "protective = true", 'protective = "yes"')
    edited(folder, "policies.toml", "in_force = 2020-12-28", 'in_force = "2020-12-28"')
    edited(folder, "policies.toml", "until = 2022-05-01", "until = 2005-05-01")
    edited(folder, "policies.toml", 'article = "第十七条"\n', "")
    assert pointers(folder) == {
        "/taxonomy/ground/0/policies/0",
        "/taxonomy/ground/1/intake",
        "/taxonomy/flag/0/protective",
        "/policies/policy/0/in_force",
        "/policies/policy/14/until",
        "/policies/policy/2/verified",
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "pointer"),
    [
        ("taxonomy.toml", 'code = "help"', 'code = "praise"', "/taxonomy"),
        ("taxonomy.toml", 'code = "help"', 'code = "reasonable"', "/taxonomy"),
        ("taxonomy.toml", 'code = "help"', 'code = "Help!"', "/taxonomy/kind/1/code"),
        ("taxonomy.toml", 'zh = "咨询"\n', "", "/taxonomy/kind/0/zh"),
        ("taxonomy.toml", 'zh = "咨询"', 'zh = " "', "/taxonomy/kind/0/zh"),
        ("taxonomy.toml", 'zh = "咨询"', 'zh = "咨询"\ncolour = "red"', "/taxonomy/kind/0"),
        ("taxonomy.toml", "[[kind]]", "[[kinds]]", "/taxonomy"),
        ("policies.toml", 'id = "petition-2022-17"', 'id = "petition-2022-35"', "/policies"),
        ("policies.toml", "\nverified = false", "\nverified = true", "/policies/policy/0/verified"),
        ("policies.toml", "[[policy]]", "[[policy", "/policies"),
    ],
)
def test_each_kind_of_fault_is_found(folder: Path, name: str, old: str, new: str, pointer: str) -> None:
    edited(folder, name, old, new)
    assert pointer in pointers(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert pointers(tmp_path) == {"/taxonomy", "/policies"}
