"""torch-eager on several devices: torchrun starts the ranks, transformers shards the model."""
