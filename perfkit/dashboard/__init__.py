"""``perfkit dashboard``: result files in a browser, by Streamlit."""
