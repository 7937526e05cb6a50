import streamlit as st

st.title("Prices")
st.write(st.session_state["prices"]["total"])
