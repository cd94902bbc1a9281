"""The public record of a bundle, in Chinese, from the facts of its card; `training/run.py` calls it.

Its headings follow the United Kingdom's Algorithmic Transparency Recording Standard: what the tool is for,
how it is part of a decision, on what data it was made, how well it does, what may go wrong and what is done.
"""

from __future__ import annotations

from training.card import CardFacts
from training.tables import shown


def write_public_record(facts: CardFacts) -> str:
    """The record as Markdown, for anybody whom a decision concerns."""
    snapshot, recipe, test = facts.snapshot, facts.recipe, facts.test
    return "\n".join(
        [
            f"# 算法透明度记录：明辨工单研判模型（{recipe.name}）",
            "",
            "## 一、概况",
            "",
            "- **名称**：明辨。读一件 12345 工单的文字，",
            "  给出“合理/不合理”的建议、理由类别、诉求性质、内容分类和保护性标记。",
            "- **用途**：帮助话务与审核人员发现不合理不合规诉求，同时不错退任何一位需要帮助的来电人。",
            "- **状态**：随项目提供的默认模型；由使用的城市决定是否启用、由谁负责，并在此注明。",
            "",
            "## 二、在决定中的作用",
            "",
            "- 模型只提建议。每一个对来电人不利的结果都由人确认；不确定的、涉及人身安全的，一律先交人审核。",
            "- 规则可以保护工单（紧急、轻生、未成年人、需关爱人员、工作人员作风、欠薪），",
            "  不能用来拒绝工单。",
            "- 每件工单的依据（理由、政策条款、起作用的文字、阈值、模型与规则的版本）都留痕，",
            "  可查、可申诉、可更正。",
            "",
            "## 三、数据",
            "",
            f"- 训练：{len(snapshot.train)} 件为本项目撰写的工单（没有真实来电人的文字）{_messages(facts)}。",
            f"- 校准：{len(snapshot.calibration)} 件；测试：{len(snapshot.test)} 件；各部分的地区互不重叠。",
            "- 个人信息在进入模型之前遮蔽。模型不读姓名、电话、证件号、住址，也不读来电历史。",
            f"- 语料快照：`{snapshot.digest}`。",
            "",
            "## 四、效果（测试地区，从未参与训练）",
            "",
            "| 指标 | 本模型 | 基线（字符 n-gram） |",
            "|---|---|---|",
            *(
                f"| {name} | {shown(getattr(test, field))} | {shown(getattr(facts.baseline, field))} |"
                for field, name in _FIGURES.items()
            ),
            f"| 误报不超过 2 %（相似的合理工单）且 0.1 %（{facts.real_orders} 件真实工单）时找出的不合理工单 "
            f"| {shown(facts.recall_within[0])} | {shown(facts.recall_within[1])} |",
            "",
            "## 五、保证",
            "",
            *_promises(facts),
            "",
            "## 六、风险与对策",
            "",
            "- **错把合理当不合理**：由上面的界限约束，由人确认，来电人可申诉；",
            "  推翻的案例进入监测，超出界限即停用自动化。",
            f"- **看文风不看事实**：来源泄漏检验{'通过' if facts.leak.passes else '**未通过**'}；",
            "  改写、方言、称呼、性别、外地身份等不应改变结论，失败率见模型卡。",
            f"- **标记遗漏**：{_flags(facts)}；规则与模型任一提出即生效。",
            "- **数据是撰写的**：与某市真实来电可能不同。城市应先以本地工单校准，再谈自动化。",
            "",
        ]
    )


_FIGURES = {
    "verdict_auc": "合理与不合理的区分度（AUC）",
    "recall_at_2pct": "误报 2 % 时找出的不合理工单",
    "ground_macro_f1": "理由类别（宏 F1）",
    "kind_macro_f1": "诉求性质（宏 F1）",
    "subject_macro_f1": "内容分类（宏 F1）",
    "pairs_ordered": "只差一个事实的成对工单判别正确",
}
_SIDES = {"decline": "建议不予受理", "dispatch": "不经审核直接派单"}
_BOUNDS = {
    "reasonable look-alikes recommended for declining": "形似不合理的合理工单被建议不予受理",
    "real messages recommended for declining": "真实来信被建议不予受理",
    "unreasonable orders dispatched without review": "不合理工单未经审核即派出",
}


def _messages(facts: CardFacts) -> str:
    plan = facts.recipe.finetune
    return f"；另有公开竞赛中的真实来信，占训练文字的 {plan.weak_share:.0%}" if plan.weak_share else ""


def _promises(facts: CardFacts) -> list[str]:
    lines = []
    for name, title in _SIDES.items():
        bound = facts.certificate[name]
        if bound["threshold"] is None:
            lines.append(f"- {title}：**没有凭证**，因此一律由人决定。")
            continue
        for promise in bound["promises"]:
            what = _BOUNDS.get(promise["bounds"], promise["bounds"])
            lines.append(
                f"- 置信度 {bound['confidence']:.1%}：{what}的不超过 {promise['risk']:.1%}"
                f"（校准中 {promise['orders']} 件出现 {promise['errors']} 件）。"
            )
    return lines


def _flags(facts: CardFacts) -> str:
    recalls = {code: flag.served_recall for code, flag in facts.flags.items()}
    found = [f"{code} {recall:.0%}" for code, recall in recalls.items() if recall is not None]
    return "规则与模型合计找出：" + "，".join(found) if found else "测试地区没有带标记的工单"
