"""Parity with pytorch-grad-cam, torchcam and captum: equal maps, or an explained difference."""
