"""An encoder with a scoring head, in transformers' own format; `finetune.py` and `export.py` use it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

_LOWEST = -1e4  # below any normalised state, and still a bf16 number


class PooledClassifier(BertPreTrainedModel):  # type: ignore[no-untyped-call]
    """Scores from the mean and the maximum of the last layer's states.

    Masked language modelling never trains [CLS], and few labels cannot teach it to gather a text; the
    mean carries what a text is about, the maximum a single phrase that decides.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        dropout = config.classifier_dropout if config.classifier_dropout is not None else 0.0
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, len(config.id2label or {}))
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> SequenceClassifierOutput:
        """`logits` (batch, labels) from (batch, tokens) ids, mask and segments."""
        pooled = self.pooled(input_ids, attention_mask, token_type_ids)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))

    def pooled(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(batch, 2 * width): what the head scores."""
        states = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        there = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * there).sum(1) / there.sum(1)
        highest = (states + (1 - there) * _LOWEST).amax(1)
        return torch.cat([mean, highest], dim=-1)
