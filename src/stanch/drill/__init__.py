"""Breaks servers it made itself, for real, and judges what Stanch did about it.

In: server programs and a policy. Out: one judged result an act, and the story of it.
Never: touches a server it did not make, nor anything outside its scratch folder.
"""
