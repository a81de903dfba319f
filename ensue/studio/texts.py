"""Every text of the pages, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from ensue.studio.problems import Problem

Language = Literal["en", "zh"]
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}

Say = Callable[..., str]
"""From a text's key and its facts, in the order of their numbers, to the text."""

TEXTS: dict[str, tuple[str, str]] = {
    "page.write": ("Write", "写作"),
    "page.runs": ("Runs", "训练"),
    "page.inside": ("Look inside", "内部"),
    "page.data": ("Data", "数据"),
    "page.evaluate": ("Evaluate", "评测"),
    "theme": ("Light, dark, or as the system says", "浅色、深色或跟随系统"),
    "language": ("Language", "语言"),
    "skip": ("Skip to the page", "跳到正文"),
    "loading": ("Loading …", "载入中…"),
    "none": ("none", "无"),
    "problem.said": ("{0}", "{0}"),
    "problem.missing": ("It is not there any more: {0}", "已不存在：{0}"),
    "problem.failed": ("That did not work: {0}", "出错了：{0}"),
    "write.lead": (
        "Type the beginning of a text, and let a model go on. Colours tell how sure it was of each token.",
        "输入一段开头，让模型接着写。颜色表示模型对每个词元的把握。",
    ),
    "write.prompt": ("The beginning", "开头"),
    "write.example": ("Once upon a time", "从前有一座山"),
    "write.write": ("Write", "写"),
    "write.more": ("Go on", "继续"),
    "write.stop": ("Stop", "停止"),
    "write.back": ("Back", "后退"),
    "write.model": ("Model", "模型"),
    "write.second": ("Second model", "第二个模型"),
    "write.beside": ("Side by side", "并排比较"),
    "write.temperature": ("Temperature", "温度"),
    "write.top_k": ("Top k", "Top k"),
    "write.top_p": ("Top p", "Top p"),
    "write.most": ("Tokens", "词元数"),
    "write.seed": ("Seed", "随机种子"),
    "write.settings": ("Settings", "设置"),
    "write.all": ("all", "全部"),
    "write.greedy": ("0: the likeliest each time", "0：每次取最可能的"),
    "write.branches": ("Branches", "分支"),
    "write.stats": ("{0} tokens · {1} bits a token · {2} tokens/s", "{0} 个词元 · 每词元 {1} 比特 · 每秒 {2} 个"),
    "write.no_models": (
        "There is no model yet. Train one with: ensue demo, or name one: ensue studio MODEL",
        "还没有模型。可以先训练一个：ensue demo，或指定一个：ensue studio MODEL",
    ),
    "write.too_long": (
        "The beginning has {0} tokens; this model's context is {1}. Shorten it.",
        "开头有 {0} 个词元，而模型的上下文只有 {1} 个。请缩短。",
    ),
    "write.full": ("The model's context of {0} tokens is full.", "模型的上下文（{0} 个词元）已满。"),
    "write.not_text": ("That is not text: {0}", "这不是文本：{0}"),
    "write.failed": ("The model stopped: {0}", "模型停止了：{0}"),
    "write.choose": ("Choose a model first.", "请先选择模型。"),
    "write.look": ("Look inside this text", "查看这段文本的内部"),
    "write.empty": ("What the model writes appears here.", "模型写的内容会出现在这里。"),
    "write.legend": ("How probable each token was", "每个词元的概率"),
    "write.legend_person": ("picked by you", "由你选择"),
    "write.legend_fork": ("other branches here", "此处有其他分支"),
    "runs.lead": (
        "The runs in {0}. Choose one or more to see their curves; a running training is followed as it goes.",
        "{0} 中的训练。选择一个或多个查看曲线；正在进行的训练会实时更新。",
    ),
    "runs.none": (
        "There is no run in {0} yet. Begin one with: ensue train TEXT --run {0}/mine --minutes 10",
        "{0} 中还没有训练。可以这样开始：ensue train TEXT --run {0}/mine --minutes 10",
    ),
    "runs.run": ("Run", "训练"),
    "runs.state": ("State", "状态"),
    "runs.step": ("Step", "步"),
    "runs.loss": ("Loss", "损失"),
    "runs.held_out": ("Held out", "留出集"),
    "runs.speed": ("Tokens/s", "词元/秒"),
    "runs.left": ("Time left", "剩余时间"),
    "runs.running": ("running", "进行中"),
    "runs.finished": ("finished", "已完成"),
    "runs.stopped": ("stopped", "已停止"),
    "runs.gone": ("gone", "已消失"),
    "runs.bits": ("{0} bits per byte", "每字节 {0} 比特"),
    "runs.curves": ("Curves", "曲线"),
    "runs.axis_steps": ("steps", "步数"),
    "runs.axis_tokens": ("tokens", "词元数"),
    "runs.axis_minutes": ("minutes", "分钟"),
    "runs.nats": ("nats a token", "每词元 nat"),
    "runs.lr": ("learning rate", "学习率"),
    "runs.click": ("Click a point to see what that step read.", "点击曲线上的点，查看该步读了什么。"),
    "runs.show_documents": ("Show what it read", "查看读到的内容"),
    "runs.documents_of": ("{0}, step {1}", "{0}，第 {1} 步"),
    "runs.documents_read": ("{1} tokens of {0} documents were read.", "读了 {0} 篇文档的 {1} 个词元。"),
    "runs.documents_to_read": ("{1} tokens of {0} documents will be read.", "将读 {0} 篇文档的 {1} 个词元。"),
    "runs.rows_read": ("{0} rows were read.", "读了 {0} 行。"),
    "runs.tokens_of_it": ("{0} tokens", "{0} 个词元"),
    "runs.more_documents": ("and {0} more", "还有 {0} 篇"),
    "runs.samples": ("What {0} wrote as it trained", "{0} 在训练中写的文本"),
    "runs.sample_step": ("step {0}", "第 {0} 步"),
    "inside.lead": (
        "The text you wrote, as it went through the model that wrote it; or any other text.",
        "你写的文本在模型中的计算过程；也可以换成别的文本。",
    ),
    "inside.text": ("The text", "文本"),
    "inside.look": ("Look inside", "查看内部"),
    "inside.too_long": (
        "The text has {0} tokens; this model's context is {1}. Shorten it.",
        "文本有 {0} 个词元，而模型的上下文只有 {1} 个。请缩短。",
    ),
    "inside.last": ("The last {0} tokens are shown.", "只显示最后 {0} 个词元。"),
    "inside.lens": ("What each layer would say comes next", "每一层认为接下来是什么"),
    "inside.lens_lead": (
        "The logit lens: each layer's state, read as if it were the last. The surer, the more orange; hover for more.",
        "Logit lens：把每层的状态当作最后一层来读。颜色越深越有把握；悬停查看更多。",
    ),
    "inside.embedding": ("embedding", "嵌入"),
    "inside.layer": ("layer {0}", "第 {0} 层"),
    "inside.layer_axis": ("layer", "层"),
    "inside.head": ("head", "头"),
    "inside.distance": ("tokens back", "回看词元数"),
    "inside.head_hover": ("layer {0}, head {1}: {2} tokens back", "第 {0} 层第 {1} 个头：回看 {2} 个词元"),
    "inside.attention": ("Where a head looks", "注意力头看向哪里"),
    "inside.attention_lead": (
        "Choose a head by its square, and a token by clicking it: the bluer another one, the more it is looked at.",
        "点击方格选择注意力头，点击词元查看它看向哪里：越蓝，权重越大。",
    ),
    "inside.before": ("earlier", "更早"),
    "data.lead": (
        "What models are trained on: documents, where they are from, and why others were left out.",
        "模型的训练文本：有哪些文档、来自哪里，以及为什么去掉了其他文档。",
    ),
    "data.none": (
        "There is no data yet. Make some with: ensue prepare TEXT --out data/mine, or name a folder with --data.",
        "还没有数据。可以这样准备：ensue prepare TEXT --out data/mine，或用 --data 指定文件夹。",
    ),
    "data.folder": ("Data", "数据"),
    "data.documents": ("Documents", "文档"),
    "data.sizes": ("Sources and sizes", "来源与大小"),
    "data.dropped": ("Left out", "去掉的文档"),
    "data.count": ("documents", "文档数"),
    "data.bytes": ("text", "文本量"),
    "data.train_tokens": ("training tokens", "训练词元"),
    "data.held_out_tokens": ("held-out tokens", "留出词元"),
    "data.vocab": ("vocabulary", "词表"),
    "data.search": ("Search text and sources, then Enter", "搜索文本和来源，按回车"),
    "data.nothing": ("Nothing holds “{0}”.", "没有找到“{0}”。"),
    "data.more": ("more", "更多"),
    "data.cut": ("and {0} more characters", "还有 {0} 个字符"),
    "data.before": ("Back", "上一页"),
    "data.after": ("On", "下一页"),
    "data.by_size": ("Documents by size", "按大小"),
    "data.sources": ("Largest sources", "最大的来源"),
    "data.source": ("source", "来源"),
    "data.share": ("share", "占比"),
    "data.steps": ("Step by step", "逐步过滤"),
    "data.step": ("step", "步骤"),
    "data.documents_in": ("documents in", "输入文档"),
    "data.fewer": ("fewer", "减少"),
    "data.less": ("text less", "减少的文本"),
    "data.reasons": ("Why documents were left out", "去掉的原因"),
    "data.no_reasons": ("None was left out.", "没有去掉任何文档。"),
    "data.choose_reason": ("Choose a reason to see the documents.", "点击原因查看文档。"),
    "data.unread": ("not read", "未读取"),
    "data.copy_of": ("a copy of {0}", "与 {0} 重复"),
    "evaluate.lead": (
        "What was measured, how sure each number is, and the items behind it.",
        "评测结果、每个数字的置信区间，以及它背后的题目。",
    ),
    "evaluate.none": (
        "There is no evaluation yet. Make one with: ensue evaluate MODEL --tasks lambada",
        "还没有评测。可以这样开始：ensue evaluate MODEL --tasks lambada",
    ),
    "evaluate.which": ("Evaluations", "评测"),
    "evaluate.unfinished": ("not finished", "未完成"),
    "evaluate.choose": ("Choose an evaluation.", "请选择一个评测。"),
    "evaluate.task": ("Task", "任务"),
    "evaluate.shots": ("Shots", "示例数"),
    "evaluate.metric": ("Metric", "指标"),
    "evaluate.chance": ("Guessing", "随机"),
    "evaluate.note": (
        "Intervals hold 95% of what resampled items give. Click a number to see its items.",
        "区间为对题目重采样的 95% 区间。点击数字查看题目。",
    ),
    "evaluate.higher": ("more is better", "越高越好"),
    "evaluate.lower": ("less is better", "越低越好"),
    "evaluate.shots_of": ("{0} shots", "{0} 个示例"),
    "evaluate.items": ("{0} items", "{0} 道题"),
    "evaluate.all_items": ("all", "全部"),
    "evaluate.right_items": ("right", "正确"),
    "evaluate.wrong_items": ("wrong", "错误"),
    "evaluate.row": ("row {0}", "第 {0} 行"),
    "evaluate.examples": ("{0} examples before it", "之前的 {0} 个示例"),
    "evaluate.chosen": ("chosen", "模型选择"),
    "evaluate.right": ("right", "正确答案"),
    "evaluate.written": ("The model wrote", "模型写道"),
    "evaluate.answers": ("Right would be", "正确答案"),
    "evaluate.nats": ("{0} nats", "{0} nat"),
    "token.rank": ("rank", "排名"),
    "token.unknown": ("not foretold", "未预测"),
    "token.person": ("your choice", "你的选择"),
    "token.tried": ("show this branch", "查看此分支"),
    "token.pick": ("go on with this one", "改用它继续"),
    "token.onward": ("Write again from after this token", "从这个词元之后重新写"),
}


def choose_language(cookie: str | None, accepted: str | None) -> Language:
    """What was chosen before, or else the first of the browser's languages that there is; English otherwise."""
    for language in LANGUAGES:
        if cookie == language:
            return language
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate((accepted or "").split(",")[:20]):
        name, _, rest = part.strip().partition(";")
        quality = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d*)?)\s*", rest)
        ranked.append((-(float(quality[1]) if quality else 1.0), place, name.strip().lower()))
    for _, _, name in sorted(ranked):
        for language in LANGUAGES:
            if name.partition("-")[0] == language:
                return language
    return "en"


def speaker(language: Language) -> Say:
    """The texts in a language."""
    column = list(LANGUAGES).index(language)

    def say(key: str, *facts: object) -> str:
        return TEXTS[key][column].format(*facts)

    return say


def say_problem(say: Say, problem: Problem) -> str:
    """What went wrong, in a language."""
    return say(problem.key, *problem.facts)
