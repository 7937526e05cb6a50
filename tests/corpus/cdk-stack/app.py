#!/usr/bin/env python3
import aws_cdk as cdk

from model_stack.model_stack import ModelStack

app = cdk.App()
ModelStack(app, "ModelStack")
app.synth()
