"""Finds people's names beside the words that announce them, in canonical text; masking.py calls it.

Only names before a title (张伟先生, 李局长: the title stays) or behind an introducer (我叫…, 联系人…) are
looked for: guessing at names in running text would hide common words.
"""

from __future__ import annotations

import re2

from data.personal_numbers import Found

_COMPOUND = frozenset(
    (
        *("欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟"),
        *("公孙", "慕容", "令狐", "司徒", "长孙", "宇文", "夏侯"),
    )
)
# Surnames that hardly ever end an everyday word: before a title each is a name.
_SURE = frozenset(
    "张王李刘陈杨赵黄吴徐朱胡郭罗郑梁宋唐冯邓曹彭萧肖蔡潘袁董叶杜苏魏吕丁沈姚卢姜崔钟谭陆汪范廖韦贾邹熊孟秦阎薛"
    "侯段郝邵毛戴贺龚钱汤尹黎乔赖樊殷翟倪严牛陶洪龙雷顾葛聂邢骆柴岳申耿焦詹柳鲁俞庞颜柯祝喻邱覃莫阮裴蒲窦蒋傅"
)
# Surnames that also end words (任何, 公安, 对方, 园林): believed only where a word has just ended.
_DOUBTFUL = frozenset(
    "周孙何高林马谢韩曾程余夏田任方石金江史白武康温齐安左凌甘池万文苗童华米盛鲍卜尚纪伍欧许常施游辛简季麦涂艾孔易"
)
_ENDS = frozenset("的位名找叫请是给跟和与问局处科所室会区镇乡道厂院队部办委")
# What begins like a name and is none.
_WORDS = frozenset(
    (
        *("高中", "高级", "高度", "高兴", "高空", "高端", "高血", "高质", "高层", "何时", "何种", "方便"),
        *("方面", "方提", "马上", "马路", "万一", "安全", "安装", "安宁", "安居", "安心", "安排", "安置"),
        *("任何", "任课", "纪检", "谢谢", "武装", "武警", "武术", "文化", "文具", "贸易", "曾一", "曾反"),
        *("曾多", "曾打", "曾数", "曾经", "严格", "严禁", "严肃", "严重", "游泳", "常年", "常住", "常喝"),
        *("尚未", "许多", "辛苦", "申报", "申领", "申请", "石油", "牛奶", "牛皮", "殷切", "耿耿", "董事"),
        *("陈述", "陆续", "钱财", "钱包", "苏丹", "毛病", "杜绝", "欧盟", "孔雀", "程度", "夏季", "夏天"),
        *("季节", "周边", "周围", "周末", "金融", "江苏", "江西", "江边", "黄山", "黄石", "唐山", "武汉"),
        *("安徽", "余姚", "金华"),
    )
)
_STOPS = frozenset(
    "的了是在我你他她它们不有要和与及或对被把为等都也就还又说来去到从向给让请找问叫称者这那哪某位名个人家女男老副"
    "总局处科所室区村镇乡街道路厂校院队站部办委会店行园号楼栋栏费元县市省州庄屯寨组员业主任书记电话手机身份证住先"
    "生士姓工程务管已因由将可能么什怎样没无非该此各每其单码司您奶爷"
)
_TITLE = re2.compile(
    "先生|女士|小姐|同志|师傅|老师|医生|大夫|护士|律师|法官|警官|教授|阿姨|大爷|大妈|大叔|大姐|大哥|奶奶|爷爷|叔叔"
    "|婆婆|伯伯|局长|处长|科长|所长|主任|书记|支书|校长|院长|园长|厂长|站长|队长|组长|部长|经理|老板|会计|民警|辅警"
    "|[省市州区县镇乡村]长"
)
_INTRODUCER = re2.compile(
    "(?:(我叫|我名叫|名叫|名字叫)|(?:姓名|联系人|投诉人|举报人|申请人|当事人|法定代表人|户主|房东|本人|业主|来电人"
    "|市民|居民|村民|职工|员工|患者|学生|网友|群众|租客|租户))(名叫|叫|:|是|为)? ?"
)
_FOLLOWING = (
    *(
        "反映",
        "来电",
        "致电",
        "称",
        "表示",
        "投诉",
        "咨询",
        "举报",
        "要求",
        "求助",
        "建议",
        "希望",
        "想",
        "请",
        "说",
    ),
    *(
        "家",
        "住",
        "的",
        "于",
        "和",
        "与",
        "及",
        "在",
        "是",
        "有",
        "因",
        "从",
        "向",
        "被",
        "现",
        "今年",
        "性别",
        "男",
    ),
    *("女", "先生", "电话", "手机", "联系", "身份"),
)


def find_names(text: str) -> list[Found]:
    """Names before titles and behind introducers, without those words; ascending and apart."""
    merged: list[Found] = []
    for start, end in sorted({*_titled(text), *_introduced(text)}):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), "[姓名]")
        else:
            merged.append((start, end, "[姓名]"))
    return merged


def _titled(text: str) -> list[tuple[int, int]]:
    names = []
    for found in _TITLE.finditer(text):
        end = found.start()
        # 吴江市长 heads a place: there only a surname that stands by itself is a person's.
        of_place = found[0][0] in "省市州区县镇乡村"
        for start in range(max(0, end - 4), end):
            name = text[start:end]
            if not _is_name(name) or text[start : start + 2] in _WORDS:
                continue
            apart = _word_ended(text, start)
            alone = len(name) == 1 or name in _COMPOUND
            sure = name[0] in _SURE and not of_place and (alone or name[-1] not in _SURE)
            if (apart and (alone or not of_place)) or sure or (name[:2] in _COMPOUND and not of_place):
                names.append((start, end))
                break
    return names


def _introduced(text: str) -> list[tuple[int, int]]:
    names = []
    for found in _INTRODUCER.finditer(text):
        start = found.end()
        explicit = found[1] is not None or found[2] in {"叫", "名叫", ":"}
        for length in (4, 3, 2):
            name = text[start : start + length]
            believed = explicit or name[:1] in _SURE or length > 2
            if (
                len(name) == length
                and believed
                and _is_name(name)
                and name[:2] not in _WORDS
                and _name_ended(text, start + length)
            ):
                names.append((start, start + length))
                break
    return names


def _is_name(text: str) -> bool:
    """A surname alone, or with one or two characters that may be a given name."""
    surname = 2 if text[:2] in _COMPOUND else 1
    given = text[surname:]
    known = surname == 2 or text[:1] in _SURE or text[:1] in _DOUBTFUL
    return known and len(given) <= 2 and all(map(_may_be_given, given))


def _may_be_given(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff" and character not in _STOPS


def _word_ended(text: str, index: int) -> bool:
    """Whether a word has just ended before `index`: not behind a digit (3万…), not behind another name."""
    before = text[index - 1 : index]
    if _may_be_given(before) or before in _STOPS:
        return before in _ENDS
    return not before.isdigit() and not text.endswith("[姓名]", 0, index)


def _name_ended(text: str, index: int) -> bool:
    if text.startswith("[姓名]", index):
        return False
    return text.startswith(_FOLLOWING, index) or not "\u4e00" <= text[index : index + 1] <= "\u9fff"
