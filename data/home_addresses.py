"""Finds what lies below the street in an address (house, unit, room) in canonical text; masking.py calls it.

Province, city, district, street, village and estate stay, because an order must reach the right unit. So does
a lone building or floor (3栋停水), which hundreds share. Hidden are a house number on a road, a room, and a
building together with its unit or room.
"""

from __future__ import annotations

from unicodedata import combining

import re2

from data.personal_numbers import Found

_COUNT = r"(?:[0-9]{1,5}(?:-[0-9]{1,3})?[A-Za-z]?|[A-Za-z]-?[0-9]{0,3}|[一二三四五六七八九十百零〇两]{1,5})"
_PART = re2.compile(
    rf"({_COUNT}) ?(号楼|号院|号房间|号房|栋楼|栋|幢|座|弄|组|单元|房间|室|房|楼|层|号|#楼|#)"
)
_BUILDINGS = {"号楼", "号院", "栋楼", "栋", "幢", "座", "弄", "#楼", "#"}
_ROOMS = {"号房间", "号房", "房间", "室", "房"}
# A room's number may go bare: 3栋501, 3栋2-501. What may not follow it must begin no surname, or a name
# that is masked later would make it a room on second reading.
_BARE = re2.compile(
    r" ?((?:[0-9]{1,2}-)?[0-9]{3,4})([^\pM0-9A-Za-z.,:%/年月元户人平米个多万余名间套块辆天次千亩吨岁-]|$)"
)
_DASHED = re2.compile(r"[0-9]{1,3}[-#][0-9]{1,2}-[0-9]{3,4}(?:室|房)?")
_ROADS = ("路", "街", "巷", "大道", "胡同", "坊", "路段")
_NO_ROADS = ("铁路", "线路", "电路", "网路", "思路", "来路", "半路", "车路")
# 地铁路3号线, 3号门: what follows shows that the number is of something else.
_NO_HOUSE = frozenset("线桥站口机柜杆井")
_HOUSING = frozenset("屋子产价租源改地贷款型车")  # 100房屋 counts houses

_Part = tuple[int, int, str, str]


def find_addresses(text: str) -> list[Found]:
    """House numbers, units and rooms, each chain of them as one; ascending and apart."""
    hidden = (_hidden(text, chain) for chain in _chains(text))
    addresses = [(start, end) for start, end in hidden if start < end]
    dashed = [
        found.span()
        for found in _DASHED.finditer(text)
        if not _runs_on(text, found.start() - 1) and not _runs_on(text, found.end())
    ]
    merged: list[Found] = []
    for start, end in sorted(addresses + dashed):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), "[地址]")
        else:
            merged.append((start, end, "[地址]"))
    return merged


def _chains(text: str) -> list[list[_Part]]:
    """Parts of addresses that stand side by side, at most a space between them."""
    chains: list[list[_Part]] = []
    for found in _PART.finditer(text):
        start, end = found.span()
        if _runs_on(text, start - 1) and found[1].isascii():
            continue
        if found[2] == "房" and text[end : end + 1] in _HOUSING:
            continue
        part = (start, end, found[1], found[2])
        if chains and text[chains[-1][-1][1] : start] in {"", " "}:
            chains[-1].append(part)
        else:
            chains.append([part])
    return chains


def _runs_on(text: str, index: int) -> bool:
    """Whether the character at `index` belongs to a number or word beside it; a combining mark does."""
    character = text[index : index + 1] if index >= 0 else ""
    latin = character.isascii() and character.isalnum()
    return latin or (character != "" and (character in "-.#" or combining(character) != 0))


def _hidden(text: str, chain: list[_Part]) -> tuple[int, int]:
    """The range of the chain that must be hidden; empty where nothing must."""
    start, end = chain[0][0], chain[-1][1]
    kinds = [kind for _, _, _, kind in chain]
    on_road = kinds[0] in {"号", "号院", "号楼", "弄"} and chain[0][2].isascii() and _after_road(text, start)
    if kinds[0] == "号" and not on_road:
        chain, kinds = chain[1:], kinds[1:]
        if not chain:
            return 0, 0
        start = chain[0][0]
    bare = _BARE.match(text[end : end + 9]) if kinds[-1] in _BUILDINGS | {"单元", "楼", "层", "号"} else None
    if bare and (len(chain) > 1 or kinds[0] in _BUILDINGS | {"单元"} or on_road):
        return start, end + bare.end(1)
    # 两室一厅 and 3室2厅 describe a flat, and do not name one.
    flat = not {"单元", *_BUILDINGS}.isdisjoint(kinds)
    room = any(kind in _ROOMS and (flat or len(count) >= 3) for _, _, count, kind in chain)
    building = any(kind in _BUILDINGS for kind in kinds)
    unit = building and ("单元" in kinds or "号" in kinds)
    village = kinds[0] == "组" and "号" in kinds
    followed = text[end : end + 1] in _NO_HOUSE
    if room or unit or village or (on_road and not (len(chain) == 1 and followed)):
        return start, end
    return 0, 0


def _after_road(text: str, start: int) -> bool:
    before = text[max(0, start - 6) : start].rstrip(" ")
    return before.endswith(_ROADS) and not before.endswith(_NO_ROADS) and not before.endswith("街道")
