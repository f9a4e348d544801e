"""What ``perfkit dashboard`` serves; its arguments are folders and files of results."""

from __future__ import annotations

import sys

import streamlit as st

from perfkit.dashboard import view

st.set_page_config(page_title="perfkit", layout="wide")
view.prepare(sys.argv[1:])
st.navigation(
    [
        st.Page("screens/overview.py", title="Overview", default=True),
        st.Page("screens/compare.py", title="Compare"),
        st.Page("screens/history.py", title="History"),
        st.Page("screens/pareto.py", title="Pareto"),
        st.Page("screens/ablation.py", title="Fused attention"),
        st.Page("screens/batching.py", title="Batching"),
    ],
    position="top",
).run()
